"""Matrices side by side: which class was read as which, which caption is near which picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import Normalize

from t2i.reporting import style

WRITTEN = 12
"""Columns up to which each cell has its number."""


@style.styled
def matrices(
    panels: Mapping[str, np.ndarray],
    rows: Sequence[str],
    columns: Sequence[str],
    path: Path,
    title: str,
    label: str,
    axes_labels: tuple[str, str],
    subtitle: str = "",
    limits: tuple[float, float] | None = None,
    form: str = ".0f",
) -> Path:
    """Float (R, C) a panel, one colour scale for all; NaN cells stay empty. axes_labels: of rows and columns.

    Raises ValueError when a panel's shape does not fit the labels.
    """
    for name, values in panels.items():
        if np.shape(values) != (len(rows), len(columns)):
            raise ValueError(f"{name} has the shape {np.shape(values)}; expected ({len(rows)}, {len(columns)})")
    names = max(style.text_width(name, style.SMALL_SIZE) for name in rows) / style.DPI
    below = max(style.text_width(name, style.SMALL_SIZE) for name in columns) / style.DPI
    small = len(columns) <= WRITTEN
    side = 0.36 if small else 0.21
    width = max(3.0, side * len(columns) + 0.4)
    figure = style.chart(
        names + 1.3 + width * len(panels), side * len(rows) * width / (side * len(columns) + 0.4) + below + 0.9,
        title, subtitle,
    )  # fmt: skip
    low, high = limits or (
        float(min(np.nanmin(values) for values in panels.values())),
        float(max(np.nanmax(values) for values in panels.values())),
    )
    norm, colours = Normalize(low, high if high > low else low + 1), matplotlib.colormaps["Blues"]
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, values) in zip(grid, panels.items(), strict=True):
        image = axes.imshow(values, cmap=colours, norm=norm, aspect="auto")
        axes.set_title(name, size=style.TEXT_SIZE)
        axes.set_xticks(range(len(columns)), columns, rotation=90, size=style.SMALL_SIZE)
        axes.set_yticks(range(len(rows)), rows, size=style.SMALL_SIZE)
        axes.set_xlabel(axes_labels[1])
        axes.tick_params(length=0)
        axes.grid(False)
        for (row, column), value in np.ndenumerate(values) if small else ():
            if np.isfinite(value):
                dark = norm(value) > 0.55
                axes.text(
                    column, row, f"{value:z{form}}", ha="center", va="center", size=style.SMALL_SIZE - 1,
                    color=style.PAPER if dark else style.INK,
                )  # fmt: skip
    grid[0].set_ylabel(axes_labels[0])
    bar = figure.colorbar(image, ax=list(grid), label=label, pad=0.02)
    bar.outline.set_visible(False)
    return style.save(figure, path)
