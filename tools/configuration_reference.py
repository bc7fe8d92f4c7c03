"""Writes docs/configuration.md: every key of the configuration with its default and meaning, read from the schema.

    python tools/configuration_reference.py

A test compares the file with what this writes, so a key cannot be added without its line.
"""

import ast
import dataclasses
import sys
from enum import Enum
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
PAGE = PROJECT / "docs" / "configuration.md"
HEAD = """# Configuration

Every key, from the schema (`tools/configuration_reference.py` writes this page). On the command line: `key=value`. A group takes
the name of a file in `conf/<group>/`, or in `<folder>/<group>/` with `--config-dir=<folder>`; its keys can be set too,
e.g. `strategy=lora strategy.rank=8`.
"""


def meanings(cls: type) -> dict[str, str]:
    """Field to the text that stands below it, those of base classes included."""
    found: dict[str, str] = {}
    for kind in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(kind):
            continue
        source = Path(sys.modules[kind.__module__].__file__ or "").read_text(encoding="utf-8")
        body = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == kind.__name__).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[node.target.id] = " ".join(str(after.value.value).split())
    return found


def default(field: "dataclasses.Field[Any]") -> str:
    """As one would type it."""
    value = field.default
    if value is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    text = "" if value is dataclasses.MISSING else typed(value)
    return "" if text in ("???", "<factory>") or value is dataclasses.MISSING else text.replace("|", "\\|")


def typed(value: Any) -> str:
    """A value as one would type it."""
    from t2i.config import spelt

    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(spelt, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def told_of(meaning: str) -> str:
    """A meaning as Markdown shows it as it stands: no tags, no table's bars, no emphasis by underscores."""
    return meaning.replace("|", "\\|").replace("<", "&lt;").replace("__", "\\_\\_")


def rows(cls: type, prefix: str) -> list[str]:
    """One line a key; a nested section's keys follow with their own prefix."""
    told, lines = meanings(cls), []
    for field in dataclasses.fields(cls):
        if field.name.startswith("_") or field.name == "kind":
            continue
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            lines += rows(field.type, f"{prefix}{field.name}.")
            continue
        meaning = told_of(told.get(field.name, ""))
        lines.append(f"| `{prefix}{field.name}` | {f'`{default(field)}`' if default(field) else ''} | {meaning} |")
    return lines


def page() -> str:
    """The whole page."""
    from t2i.config import CONF, SCHEMAS, Config

    table = ["| key | default | meaning |", "|---|---|---|"]
    told = meanings(Config)
    plain, sections = [], []
    for field in dataclasses.fields(Config):
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            if field.name not in SCHEMAS:
                doc = (field.type.__doc__ or "").splitlines()[0]
                sections.append(
                    f"## {field.name}\n\n{doc}\n\n" + "\n".join([*table, *rows(field.type, f"{field.name}.")])
                )
            continue
        meaning = told_of(told.get(field.name, ""))
        plain.append(f"| `{field.name}` | {f'`{default(field)}`' if default(field) else ''} | {meaning} |")
    groups = []
    for group, kinds in SCHEMAS.items():
        folder = PROJECT / "sweeps" if group == "sweeps" else CONF / group
        options = ", ".join(f"`{path.stem}`" for path in sorted(folder.glob("*.yaml")))
        text = f"## {group}\n\nOptions: {options}.\n"
        for kind, schema in kinds.items():
            doc = (schema.__doc__ or "").splitlines()[0]
            head = f"\n### {group}: {kind}\n\n{doc}\n" if len(kinds) > 1 else f"\n{doc}\n"
            text += head + "\n" + "\n".join([*table, *rows(schema, f"{group}.")]) + "\n"
        groups.append(text.rstrip())
    top = "## Top level\n\n" + "\n".join([*table, *plain])
    return "\n\n".join([HEAD.rstrip(), top, *sections, *groups]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
