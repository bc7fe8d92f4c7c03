"""One fact that must hold, as a line of the table of task=verify."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One line of the table: what was looked at, what it must be, what it is."""

    name: str
    expected: str
    found: str
    ok: bool


def same(name: str, expected: object, found: object) -> Check:
    """A check for equality; counts are written with commas."""
    wanted, had = (f"{value:,}" if isinstance(value, int) else str(value) for value in (expected, found))
    return Check(name, wanted, had, expected == found)
