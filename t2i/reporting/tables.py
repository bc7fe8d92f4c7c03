"""How a table is laid out on a page: second lines under values, readable names, and as many columns as fit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from t2i.reporting.names import readable
from t2i.reporting.numbers import EMPTY, MISSING, cell

NUMERIC = re.compile(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?( \[.*\])?( ?[%a-zA-Z/]{1,10})?")
INTERVAL = re.compile(r"(\S+) (\[[^\[\]]*, [^\[\]]*\])( ?\S{0,3})")
WIDE, NARROW = 98, 30
"""Characters that a row has room for on a laptop, and on a phone; a table wider than the latter shows each row as a block
there."""
SMALL = 0.87
"""Size of the lines below a value, of its own."""
GAP = 3
"""Characters between two columns."""
LONG = 18
"""Characters of a heading's word beyond which it may be broken."""
PHONE = 26
"""Characters of a number beyond which it may be broken."""
WORD = 16
"""Characters of a word beyond which a text may be broken inside it."""
LINE = 22
"""Characters that a text's column asks for at most: longer texts have several lines."""


@dataclass(frozen=True)
class Table:
    """Rows of cells: text is printed as it is, numbers as `t2i.reporting.numbers.cell` does, None as a dash.

    The second and further lines of a cell are printed smaller below its first; an interval goes there by itself.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    keys: int = 1
    """How many of the first columns say what a row is about."""


@dataclass(frozen=True)
class Cell:
    """What is read in one cell: the value, what stands small below it, and the raw name where another one is shown."""

    value: str
    below: tuple[str, ...] = ()
    raw: str = ""


@dataclass(frozen=True)
class Column:
    """One column, its cells from top to bottom."""

    head: Cell
    cells: list[Cell] = field(default_factory=list)
    numeric: bool = False

    @property
    def head_class(self) -> str:
        """For the style sheet."""
        return " ".join(["number"] * self.numeric + ["long"] * (self._head > LONG))

    @property
    def cell_class(self) -> str:
        """For the style sheet: numbers stand on one line if it is not too long for a phone."""
        if not self.numeric:
            return "text"
        lines = [line for shown in self.cells for line in (shown.value, *shown.below)]
        return "number" if max(map(len, lines)) <= PHONE else "number broken"

    @property
    def _head(self) -> int:
        return max((len(word) for word in self.head.value.split()), default=0)

    @property
    def width(self) -> int:
        """Characters that it needs: numbers stand on one line, texts are wrapped."""
        longest = min(self._head, LONG) or 1
        for shown in self.cells:
            for line, size in ((shown.value, 1.0), *((line, SMALL) for line in shown.below)):
                words = max((len(word) for word in line.split()), default=0)
                room = len(line) if self.numeric else max(min(words, WORD), min(len(line), LINE))
                longest = max(longest, math.ceil(room * size))
        return longest


@dataclass(frozen=True)
class Layout:
    """The columns in groups that fit beside each other; all groups but the first are folded and repeat the keys."""

    groups: list[list[Column]]
    keys: int

    @property
    def narrow(self) -> bool:
        """Whether it fits on a phone as it is."""
        return len(self.groups) == 1 and len(self.groups[0]) <= 3 and row_width(self.groups[0]) <= NARROW

    @property
    def tall(self) -> bool:
        """Whether it fits nowhere as a table, so that each row is a block in every window."""
        return any(row_width(group) > WIDE for group in self.groups)

    @property
    def folded(self) -> int:
        """How many columns are in the groups that are folded."""
        return sum(len(group) - self.keys for group in self.groups[1:])


def layout(table: Table) -> Layout:
    """The table as it is shown. Raises ValueError when a row has another number of cells than the table has columns."""
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(f"found a row of {len(row)} cells in a table of {len(table.columns)} columns: {row}")
    columns = []
    for index, name in enumerate(table.columns):
        texts = [cell(row[index]) for row in table.rows]
        firsts = [text.split("\n")[0] for text in texts]
        numeric = bool(texts) and all(NUMERIC.fullmatch(text) or text in (EMPTY, MISSING, "") for text in firsts)
        columns.append(Column(_named(name), [_cell(text) for text in texts], numeric and any(firsts)))
    keys = columns[: table.keys]
    if row_width(keys) > WIDE // 2:  # nothing would fit beside them
        return Layout([columns], table.keys)
    groups = [list(keys)]
    for column in columns[table.keys :]:
        if len(groups[-1]) > len(keys) and row_width([*groups[-1], column]) > WIDE:
            groups.append(list(keys))
        groups[-1].append(column)
    return Layout(groups, table.keys)


def row_width(columns: Sequence[Column]) -> int:
    """Characters that the columns need beside each other."""
    return sum(column.width + GAP for column in columns) - GAP


def _named(text: str) -> Cell:
    shown = readable(text)
    return Cell(shown, raw=text if shown != text else "")


def _cell(text: str) -> Cell:
    first, *below = text.split("\n")
    found = INTERVAL.fullmatch(first)
    if found:
        return Cell(found[1] + found[3], (found[2], *below))
    named = _named(first)
    return Cell(named.value, tuple(below), named.raw)
