"""The heat map of a sweep: one number, with its interval, for each pair of settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from t2i.reporting import style
from t2i.reporting.numbers import common_decimals, number, parts

COLUMN = 1.15
"""Inches that a column has."""


@style.styled
def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    path: Path,
    title: str,
    label: str,
    higher_is_better: bool,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
    tied: np.ndarray | None = None,
) -> Path:
    """A number for each pair of settings: darker is better, NaN cells are hatched "failed".

    The best cell has a star and a frame where it stands out. tied: bool (R, C), the cells that cannot be told from it,
    by a test: their frame is dashed, and the best one stands out unless all are tied. Without `tied` it stands out where
    its interval overlaps no other cell's: a number without an interval has no best cell.

    values, low, high: float (R, C); low and high are the ends of each cell's interval. Raises ValueError when the
    shapes do not fit the labels.
    """
    cells = _Cells(rows, columns, values, low, high, tied, higher_is_better)
    direction = "higher is better" if higher_is_better else "lower is better"
    widest = max(style.text_width(name, style.TEXT_SIZE) for name in rows) / style.DPI
    width = max(5.0, widest + 2.0 + COLUMN * len(columns))
    height = 0.75 + 0.62 * len(rows) + style.below(columns, COLUMN)
    figure = style.chart(width, height, title, cells.subtitle(label, direction))
    axes = figure.add_subplot()
    colours, norm = matplotlib.colormaps["Blues" if higher_is_better else "Blues_r"].copy(), cells.norm()
    shown = np.where(cells.good, cells.values, np.nan)
    mesh = axes.pcolormesh(shown, cmap=colours, norm=norm, edgecolors=style.PAPER, linewidth=2)
    for (row, column), value in np.ndenumerate(cells.values):
        if not cells.good[row, column]:
            _failed(axes, row, column)
            continue
        ink = style.INK if np.dot(colours(norm(value))[:3], (0.299, 0.587, 0.114)) > 0.55 else style.PAPER
        _filled(axes, row, column, cells, ink)
    if cells.best is not None:
        _frame(axes, *cells.best, 0.02, edgecolor=style.BEST, linewidth=3)
    if cells.good.any():
        bar = figure.colorbar(mesh, ax=axes, label=direction, pad=0.02)  # the title has the metric
        bar.outline.set_visible(False)
    style.columns(axes, [place + 0.5 for place in range(len(columns))], columns, COLUMN)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.invert_yaxis()
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return style.save(figure, path)


class _Cells:
    """What the heat map shows in each cell: float64 (R, C) values with the ends of their intervals."""

    def __init__(
        self,
        rows: Sequence[str],
        columns: Sequence[str],
        values: np.ndarray,
        low: np.ndarray | None,
        high: np.ndarray | None,
        tied: np.ndarray | None,
        higher_is_better: bool,
    ) -> None:
        self.rows, self.columns, self.tied = rows, columns, tied
        self.values = np.asarray(values, dtype=np.float64)
        for array in (self.values, low, high):
            if array is not None and np.shape(array) != (len(rows), len(columns)):
                raise ValueError(f"found values of shape {np.shape(array)}; expected ({len(rows)}, {len(columns)})")
        self.low, self.high = (
            np.full(self.values.shape, np.nan) if end is None else np.asarray(end, dtype=np.float64)
            for end in (low, high)
        )
        self.good = np.isfinite(self.values)
        self.places = common_decimals(self.values.ravel(), self.low.ravel(), self.high.ravel())
        self.best: tuple[int, int] | None = None
        if self.good.any():
            ranked = np.where(self.good, self.values if higher_is_better else -self.values, -np.inf)
            best = divmod(int(np.argmax(ranked)), len(columns))
            if _stands_out(best, self.good, self.low, self.high, tied):
                self.best = best

    def at(self, row: int, column: int) -> tuple[float, float, float]:
        """A value and the ends of its interval."""
        return float(self.values[row, column]), float(self.low[row, column]), float(self.high[row, column])

    def subtitle(self, label: str, direction: str) -> str:
        """Which cell is the best."""
        if not self.good.any():
            return "every cell failed"
        if self.best is None:
            return f"{direction}; no cell stands out"
        stated = number(*self.at(*self.best), self.places)
        best = f"best: {self.rows[self.best[0]]}, {self.columns[self.best[1]]} with {label} {stated}; {direction}"
        return best + "; dashed: cannot be told from it" * bool(self.tied is not None and self.tied.sum() > 1)

    def norm(self) -> Normalize:
        """From values to colours."""
        good = self.values[self.good]
        span = (good.min(), good.max()) if len(good) else (0.0, 1.0)
        return Normalize(*(span if span[1] > span[0] else (span[0] - 1, span[0] + 1)))


def _frame(axes: Axes, row: int, column: int, inset: float, **look: Any) -> None:
    side = 1 - 2 * inset
    axes.add_patch(Rectangle((column + inset, row + inset), side, side, fill=False, **look))


def _failed(axes: Axes, row: int, column: int) -> None:
    _frame(axes, row, column, 0.02, hatch="////", linewidth=0, edgecolor=style.FAINT)
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": style.MUTED, "backgroundcolor": style.PAPER}
    axes.text(column + 0.5, row + 0.5, "failed", **look)


def _filled(axes: Axes, row: int, column: int, cells: _Cells, ink: str) -> None:
    """The number and its interval, `ink` being what can be read on the cell's colour."""
    at = row, column
    text, interval = parts(*cells.at(row, column), cells.places)
    is_best = cells.best == at
    if cells.best is not None and cells.tied is not None and cells.tied[at] and not is_best:
        _frame(axes, row, column, 0.03, edgecolor=style.BEST, linewidth=2, linestyle="--")
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "center", "color": ink}
    middle = column + 0.5, row + 0.5
    axes.annotate(
        f"★ {text}" if is_best else text,
        middle,
        (0, 5 if interval else 0),
        size=style.TEXT_SIZE + 1,
        weight="bold",
        **look,
    )
    axes.annotate(interval, middle, (0, -8), size=style.SMALL_SIZE - 0.5, **look)


def _stands_out(
    best: tuple[int, int], good: np.ndarray, lows: np.ndarray, highs: np.ndarray, tied: np.ndarray | None
) -> bool:
    """Whether the best cell is more than the luckiest of equals; all bool or float (R, C)."""
    others = good.copy()
    others[best] = False
    if not others.any():
        return False
    if tied is not None:
        return not bool(tied[others].all())
    apart = (lows[others] > highs[best]) | (highs[others] < lows[best])  # a missing end is in no interval
    return bool(apart.all())
