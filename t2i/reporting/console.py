"""Tables as lines of text, for the terminal: readable metric names, columns that line up, intervals with their values."""

from __future__ import annotations

from collections.abc import Sequence

from t2i.reporting.names import readable
from t2i.reporting.numbers import cell
from t2i.reporting.tables import NUMERIC

LONGEST = 56
"""Characters of a cell: the middle of a longer one is left out."""


def lines(columns: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "  ") -> list[str]:
    """The head and one line a row; numbers stand on the right. Further lines of a cell follow its first, apart by commas."""
    texts = [[_cell(readable(name)) for name in columns], *([_cell(cell(value)) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    right = [bool(rows) and all(NUMERIC.fullmatch(row[k]) for row in texts[1:] if row[k]) for k in range(len(columns))]
    return [
        indent
        + "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in texts
    ]


def _cell(text: str) -> str:
    one = ", ".join(readable(line) for line in text.split("\n"))
    return one if len(one) <= LONGEST else f"{one[: LONGEST // 2 - 1]}\N{HORIZONTAL ELLIPSIS}{one[-LONGEST // 2 :]}"
