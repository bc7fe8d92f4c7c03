"""What can be typed: every key of the schema with its type, and every group with its files."""

import math
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin

from t2i.config import CONF, SCHEMAS, SWEEPS, Config
from t2i.quoting import PATHS


@dataclass(frozen=True)
class Key:
    """A key of the schema, its type, and the kinds of its group that have it."""

    name: str
    kind: Any
    options: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[Any, ...]:
        """Its type, or each of several."""
        return get_args(self.kind) if get_origin(self.kind) in (Union, types.UnionType) else (self.kind,)

    def takes(self, value: str) -> bool:
        """Whether a value, as typed, could be one of this key's: judged by its form."""
        return any(_takes(kind, value, self.name) for kind in self.kinds)

    @property
    def several(self) -> bool:
        """Whether its value is a list."""
        return any(get_origin(kind) is list for kind in self.kinds)

    @property
    def mapping(self) -> bool:
        """Whether its value is a mapping."""
        return any(get_origin(kind) is dict for kind in self.kinds)

    @property
    def text(self) -> bool:
        """Whether its value may be any text."""
        return str in self.kinds


@cache
def keys() -> Mapping[str, Key]:
    """Every key that can be typed, whatever options its group has."""
    found: dict[str, Key] = {}
    for name, kind, option in _keys(Config):
        known = found.get(name, Key(name, kind))
        found[name] = Key(name, kind, (*known.options, *([option] if option else [])))
    return found


@cache
def options() -> Mapping[str, tuple[str, ...]]:
    """Every group with the names of its files."""
    groups = [*SCHEMAS, "experiment"]
    folders = {group: SWEEPS if group == "sweeps" else CONF / group for group in groups}
    return {group: tuple(sorted(path.stem for path in folder.glob("*.yaml"))) for group, folder in folders.items()}


def having(name: str) -> list[str]:
    """The files of a key's group whose kind has the key."""
    group = name.partition(".")[0]
    kinds = keys()[name].options
    folder = SWEEPS if group == "sweeps" else CONF / group
    words = {
        path.stem: set(re.findall(r"\bschema_(\w+)", path.read_text(encoding="utf-8")))
        for path in folder.glob("*.yaml")
    }
    return sorted(stem for stem, found in words.items() if found & set(kinds))


def sections() -> set[str]:
    """What has keys below it and is no group."""
    dotted = (name.rpartition(".")[0] for name in keys())
    return {name for name in dotted if name and name not in SCHEMAS}


def _keys(schema: type, prefix: str = "", option: str = "") -> Iterator[tuple[str, Any, str]]:
    for field in fields(schema):
        name = f"{prefix}{field.name}"
        if not prefix and field.name in SCHEMAS:
            for kind, member in SCHEMAS[field.name].items():
                yield from _keys(member, f"{name}.", kind)
        elif isinstance(field.type, type) and is_dataclass(field.type):
            yield from _keys(field.type, f"{name}.", option)
        else:
            yield name, field.type, option


def _takes(kind: Any, value: str, name: str) -> bool:
    number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", value, re.IGNORECASE)
    if kind is bool:
        return value.lower() in ("true", "false")
    if kind is int:
        return bool(re.fullmatch(r"[+-]?\d+", value))
    if kind is float:
        return number is not None and math.isfinite(float(value))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return value in kind.__members__
    if get_origin(kind) is list:
        return value.startswith("[")
    if get_origin(kind) is dict:
        return value.startswith("{")
    return kind is str and name in PATHS and ("/" in value or "." in value) and number is None
