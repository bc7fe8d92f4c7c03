"""The heat map of a sweep: one number, with its interval, for each pair of settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
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
    values = np.asarray(values, dtype=np.float64)
    for array in (values, low, high):
        if array is not None and np.shape(array) != (len(rows), len(columns)):
            raise ValueError(f"found values of shape {np.shape(array)}; expected ({len(rows)}, {len(columns)})")
    good = np.isfinite(values)
    direction = "higher is better" if higher_is_better else "lower is better"
    lows = np.full(values.shape, np.nan) if low is None else np.asarray(low, dtype=np.float64)
    highs = np.full(values.shape, np.nan) if high is None else np.asarray(high, dtype=np.float64)
    places = common_decimals(values.ravel(), lows.ravel(), highs.ravel())
    best: tuple[int, int] | None = None
    subtitle = "every cell failed"
    if good.any():
        ranked = np.where(good, values if higher_is_better else -values, -np.inf)
        best = divmod(int(np.argmax(ranked)), len(columns))
        if not _stands_out(best, good, lows, highs, tied):
            best, subtitle = None, f"{direction}; no cell stands out"
        else:
            stated = number(float(values[best]), float(lows[best]), float(highs[best]), places)
            subtitle = f"best: {rows[best[0]]}, {columns[best[1]]} with {label} {stated}; {direction}"
            if tied is not None and tied.sum() > 1:
                subtitle += "; dashed: cannot be told from it"
    widest = max(style.text_width(name, style.TEXT_SIZE) for name in rows) / style.DPI
    height = 0.75 + 0.62 * len(rows) + style.below(columns, COLUMN)
    figure = style.chart(max(5.0, widest + 2.0 + COLUMN * len(columns)), height, title, subtitle)
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["Blues" if higher_is_better else "Blues_r"].copy()
    span = (values[good].min(), values[good].max()) if good.any() else (0.0, 1.0)
    norm = Normalize(*(span if span[1] > span[0] else (span[0] - 1, span[0] + 1)))
    mesh = axes.pcolormesh(np.where(good, values, np.nan), cmap=colours, norm=norm, edgecolors=style.PAPER, linewidth=2)
    for (row, column), value in np.ndenumerate(values):
        middle = column + 0.5, row + 0.5
        if not good[row, column]:
            axes.add_patch(
                Rectangle(
                    (column + 0.02, row + 0.02),
                    0.96,
                    0.96,
                    fill=False,
                    hatch="////",
                    linewidth=0,
                    edgecolor=style.FAINT,
                )
            )
            axes.text(*middle, "failed", ha="center", va="center", color=style.MUTED, backgroundcolor=style.PAPER)
            continue
        ink = style.INK if np.dot(colours(norm(value))[:3], (0.299, 0.587, 0.114)) > 0.55 else style.PAPER
        text, interval = parts(float(value), float(lows[row, column]), float(highs[row, column]), places)
        is_best = best == (row, column)
        if best is not None and tied is not None and tied[row, column] and not is_best:
            axes.add_patch(
                Rectangle(
                    (column + 0.03, row + 0.03),
                    0.94,
                    0.94,
                    fill=False,
                    edgecolor=style.BEST,
                    linewidth=2,
                    linestyle="--",
                )
            )
        axes.annotate(
            f"★ {text}" if is_best else text,
            middle,
            (0, 5 if interval else 0),
            textcoords="offset points",
            ha="center",
            va="center",
            color=ink,
            size=style.TEXT_SIZE + 1,
            weight="bold",
        )
        axes.annotate(
            interval,
            middle,
            (0, -8),
            textcoords="offset points",
            ha="center",
            va="center",
            color=ink,
            size=style.SMALL_SIZE - 0.5,
        )
    if best is not None:
        axes.add_patch(
            Rectangle((best[1] + 0.02, best[0] + 0.02), 0.96, 0.96, fill=False, edgecolor=style.BEST, linewidth=3)
        )
    if good.any():
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
