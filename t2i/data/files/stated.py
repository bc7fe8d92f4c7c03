"""What a source states about an image, as it is given: a value that is no text never becomes one."""

import math
from typing import Any

from t2i.errors import UserError


def texts(value: Any, where: object, key: str = "the caption") -> list[str]:
    """A text, or the texts of a list, as a list; what is missing (null, NaN) gives none.

    Raises UserError that says `where` for anything else: a number or an object is no caption.
    """
    values = value if isinstance(value, list | tuple) else [value]
    found = []
    for item in values:
        if isinstance(item, str):
            found.append(item)
        elif not missing(item):
            raise UserError(f"{where}: {key} is {_kind(item)}, not a text: write texts, or a list of them.")
    return found


def word(value: Any, where: object, key: str) -> str:
    """A name that may be a text or a number; empty where it is missing. Raises UserError that says `where`."""
    if missing(value):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise UserError(f"{where}: {key} is {_kind(value)}, not a text or a number.")


def missing(value: Any) -> bool:
    """Whether there is no value: null, or the NaN by which tables of numbers say so."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", bytes: "binary data", bool: "true or false", int: "a number"}
    name = names.get(type(value), "a number" if isinstance(value, float) else f"a {type(value).__name__}")
    shown = str(value)
    return f"{name} ({shown[:40]}{'...' if len(shown) > 40 else ''})"
