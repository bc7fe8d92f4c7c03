"""Pictures over a training: one row a checkpoint, one column a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from t2i.reporting import style
from t2i.reporting.grids import checked, enlarge
from t2i.reporting.numbers import parts
from t2i.reporting.page import GAP, Page, text_height

ROWS, COLUMNS = 8, 6
"""The most that are shown: the first, the last, and evenly between them."""


@style.styled
def samples_over_training(
    steps: Sequence[int],
    images: np.ndarray,
    prompts: Sequence[str],
    scores: Sequence[Sequence[float]],
    path: Path,
    title: str,
) -> Path:
    """images: uint8 (steps, prompts, H, W, 3); scores: mean CLIP score of each row and the bounds of its interval.

    Raises ValueError when the numbers of steps, images, prompts and scores differ.
    """
    if images.shape[:2] != (len(steps), len(prompts)) or len(scores) != len(steps):
        raise ValueError(
            f"found images of shape {images.shape} and {len(scores)} scores; expected ({len(steps)}, {len(prompts)}, H, W, 3)"
        )
    rows = np.unique(np.linspace(0, len(steps) - 1, min(ROWS, len(steps))).round().astype(int)).tolist()
    columns = range(min(COLUMNS, len(prompts)))
    tiles = enlarge(checked(images.reshape(-1, *images.shape[2:]), len(steps) * len(prompts)))
    height, width = tiles.shape[1:3]
    labels = {row: ["before" if steps[row] == 0 else f"step {steps[row]:,}", *_scored(scores[row])] for row in rows}
    side = int(max(style.text_width(t, style.TEXT_SIZE, bold=True) for lines in labels.values() for t in lines)) + GAP
    heads = [style.wrap(prompts[column], width, style.TEXT_SIZE) for column in columns]
    head = text_height(max(len(lines) for lines in heads)) + 6
    page = Page(
        side + len(columns) * (width + GAP) - GAP,
        head + len(rows) * (height + GAP),
        title,
        "Each column: one prompt and one seed. The CLIP score is the mean over all prompts, with its 95 % interval.",
    )
    for column, lines in enumerate(heads):
        page.text(side + column * (width + GAP), head - 6 - text_height(len(lines)), lines)
    page.down(head)
    for row in rows:
        top = height / 2 - text_height(len(labels[row])) / 2
        page.text(0, top, labels[row][:1], bold=True)
        page.text(0, top + text_height(1), labels[row][1:], colour=style.MUTED)
        for column in columns:
            page.picture(side + column * (width + GAP), tiles[row * len(prompts) + column])
        page.down(height + GAP)
    return page.save(path)


def _scored(score: Sequence[float]) -> list[str]:
    value, interval = parts(score[0], score[1], score[2])
    return [f"CLIP {value}", *([interval] if interval else [])]
