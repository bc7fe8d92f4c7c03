"""Prompts down, settings across: what one setting does to the same pictures, with the score of each and of the column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from t2i.reporting import style
from t2i.reporting.grids import checked, enlarge
from t2i.reporting.numbers import common_decimals, number, parts
from t2i.reporting.page import GAP, MARGIN, Page, text_height

PLOT = 150  # pixels of the chart below the pictures
TEXT_LINES = 6


@style.styled
def column_comparison(
    prompts: Sequence[str],
    columns: Sequence[str],
    images: np.ndarray,
    scores: np.ndarray,
    means: np.ndarray,
    path: Path,
    title: str,
    subtitle: str,
    label: str,
    marked: int | None = None,
) -> Path:
    """One row a prompt, one column a setting; below, the mean score of each column's pictures with its interval.

    images: uint8 (R, C, H, W, 3). scores: float (R, C) of the shown pictures, means: float (C, 3) of value, low and high;
    NaN where there is none. marked: the column of the run's own setting. Raises ValueError when shapes and labels differ.
    """
    shape = (len(prompts), len(columns))
    if images.ndim != 5 or images.shape[:2] != shape or scores.shape != shape or means.shape != (len(columns), 3):
        raise ValueError(
            f"found images of shape {images.shape}, scores {scores.shape} and means {means.shape} for {shape[0]} prompts and "
            f"{shape[1]} columns"
        )
    tiles = enlarge(checked(images.reshape(-1, *images.shape[2:]), shape[0] * shape[1]))
    height, width = tiles.shape[1:3]
    side = 190 + GAP
    heads = [style.wrap(name, width, style.TEXT_SIZE, bold=True, most=2) for name in columns]
    head = text_height(max(map(len, heads))) + 6
    step = height + text_height(1) + 6 + GAP
    page = Page(side + len(columns) * (width + GAP) - GAP, head + len(prompts) * step + PLOT + 84, title, subtitle)
    for column, lines in enumerate(heads):
        colour = style.BEST if column == marked else style.INK
        page.text(side + column * (width + GAP), head - 6 - text_height(len(lines)), lines, bold=True, colour=colour)
    page.down(head)
    for row, prompt in enumerate(prompts):
        page.text(0, 0, style.wrap(prompt, side - GAP, style.TEXT_SIZE, most=TEXT_LINES))
        for column in range(len(columns)):
            left = side + column * (width + GAP)
            page.picture(left, tiles[row * len(columns) + column])
            score = number(float(scores[row, column]), places=1)
            page.text(left, height + 4, [score], colour=style.MUTED)
        page.down(step)
    _means(page, side, width, means, label, marked)
    return page.save(path)


def _means(page: Page, side: int, width: int, means: np.ndarray, label: str, marked: int | None) -> None:
    """A dot and a bar under each column, on an axis of its own."""
    count = len(means)
    span = count * (width + GAP) - GAP
    axes = page.figure.add_axes(
        (
            (MARGIN + side) / page.width,
            1 - (page.line + 12 + PLOT) / page.height,
            span / page.width,
            PLOT / page.height,
        )
    )
    centres = [column * (width + GAP) + width / 2 for column in range(count)]
    places = common_decimals(means[:, 0], means[:, 1], means[:, 2])
    for column, (value, low, high) in enumerate(means):
        if not np.isfinite(value):
            continue
        colour = style.BEST if column == marked else style.BASE
        if np.isfinite([low, high]).all():
            axes.plot([centres[column]] * 2, [low, high], color=colour, alpha=0.35, linewidth=9, solid_capstyle="butt")
        axes.plot(centres[column], value, "o", color=colour, markersize=7)
        told = parts(float(value), float(low), float(high), places)
        axes.text(
            centres[column], -0.1, "\n".join(part for part in told if part), ha="center", va="top", color=colour,
            transform=axes.get_xaxis_transform(), linespacing=1.4,
        )  # fmt: skip
    known = means[np.isfinite(means)]
    if known.size:
        spare = max(0.12 * np.ptp(known), 0.02 * np.abs(known).max(), 1e-9)
        axes.set_ylim(known.min() - spare, known.max() + spare)
    axes.set_xlim(0, span)
    axes.set_xticks([])
    axes.set_ylabel(label)
