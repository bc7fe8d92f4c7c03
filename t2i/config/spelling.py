"""Values as a command line, JSON and OmegaConf want them spelt."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any


def as_override(key: str, value: Any) -> str:
    """`key=value` as one types it to Hydra, before a shell has its say: null, and texts with commas in quotes."""
    return f"{key}={spelt(value)}"


def spelt(value: Any) -> str:
    """A value as one types it to Hydra."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{spelt(name)}:{spelt(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(spelt, value)) + "]"
    text = value.value if isinstance(value, Enum) else str(value)
    plain = re.fullmatch(r"[\w./:@%+-]+", text) and not re.fullmatch(
        r"(?i)null|true|false|[+-]?(nan|inf|\.?\d.*)", text
    )
    if plain or isinstance(value, int | float):
        return str(text)
    # Hydra reads a backslash as such, unless it stands before a quote.
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + "\\'" * len(found[2]), text) + "'"


def as_dict(value: Any) -> Any:
    """Dataclasses, enums and containers as plain JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_dict(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: as_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_dict(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def literal(value: Any) -> Any:
    """Values whose texts OmegaConf takes as they are, without looking for its ${...} in them."""
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [literal(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value
