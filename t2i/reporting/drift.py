"""What tuning on one domain did to the others: gains and losses around zero."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import Normalize

from t2i.reporting import style
from t2i.reporting.numbers import common_decimals, parts

COLUMN = 1.15
"""Inches that a column has."""


@style.styled
def drift_matrix(
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    clear: np.ndarray,
    path: Path,
    title: str,
    label: str,
    subtitle: str,
    higher_is_better: bool = True,
) -> Path:
    """A change for each pair of a model and a domain: purple gained, orange lost, bold where it is clear.

    values, low, high: float (R, C); clear: bool (R, C). Raises ValueError when a shape does not fit the labels.
    """
    for array in (values, low, high, clear):
        if np.shape(array) != (len(rows), len(columns)):
            raise ValueError(f"found the shape {np.shape(array)}; expected ({len(rows)}, {len(columns)})")
    places = common_decimals(values.ravel(), low.ravel(), high.ravel())
    widest = max(style.text_width(name, style.TEXT_SIZE) for name in rows) / style.DPI
    height = 0.75 + 0.62 * len(rows) + style.below(columns, COLUMN)
    figure = style.chart(max(5.0, widest + 1.6 + COLUMN * len(columns)), height, title, subtitle)
    axes = figure.add_subplot()
    reach = 1.6 * max(float(np.abs(values).max()), 1e-9)  # the darkest colours would hide the numbers
    norm, colours = Normalize(-reach, reach), matplotlib.colormaps["PuOr" if higher_is_better else "PuOr_r"]
    image = axes.imshow(values, cmap=colours, norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text, interval = parts(float(value), float(low[row, column]), float(high[row, column]), places)
        weight = "bold" if clear[row, column] else "normal"
        axes.text(column, row - 0.12, text, ha="center", va="center", weight=weight, size=style.TEXT_SIZE + 1)
        axes.text(column, row + 0.22, interval, ha="center", va="center", size=style.SMALL_SIZE - 0.5)
    style.columns(axes, list(range(len(columns))), columns, COLUMN)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.grid(False)
    bar = figure.colorbar(image, ax=axes, label=label, pad=0.02)
    bar.outline.set_visible(False)
    return style.save(figure, path)
