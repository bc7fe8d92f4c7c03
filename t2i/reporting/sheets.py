"""Figures of many small pictures: a contact sheet, and pairs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from t2i.reporting import style
from t2i.reporting.page import GAP, Page, text_height
from t2i.reporting.shown import fitted

SMALL, PAIRED, BETWEEN = 96, 160, 6  # pixels: a picture of a contact sheet, one of a pair, the space around it
ACROSS = 10
PAIRS_ACROSS = 3


@style.styled
def contact_sheet(groups: Mapping[str, Sequence[np.ndarray]], path: Path, title: str, subtitle: str = "") -> Path:
    """Pictures without captions, ten in a row, below the name of their group (an empty name takes no line).

    groups: uint8 (H, W, 3) each, of any shape; a group may hold any number. Raises ValueError without any picture.
    """
    shown = {name: pictures for name, pictures in groups.items() if len(pictures)}
    if not shown:
        raise ValueError("found no picture; expected at least one")
    step = SMALL + BETWEEN
    heads = [text_height(1) + 4 if name else 0 for name in shown]
    rows = [-(-len(pictures) // ACROSS) for pictures in shown.values()]
    width = min(ACROSS, max(map(len, shown.values()))) * step - BETWEEN
    page = Page(width, sum(heads) + sum(rows) * step + len(rows) * GAP, title, subtitle)
    for (name, pictures), head in zip(shown.items(), heads, strict=True):
        if name:
            page.text(0, 0, style.wrap(name, width, style.TEXT_SIZE, bold=True, most=1), bold=True)
        page.down(head)
        for start in range(0, len(pictures), ACROSS):
            for column, picture in enumerate(pictures[start : start + ACROSS]):
                page.picture(column * step, fitted(picture, SMALL))
            page.down(step)
        page.down(GAP)
    return page.save(path)


@style.styled
def picture_pairs(pairs: Sequence[tuple[np.ndarray, np.ndarray, str]], path: Path, title: str, subtitle: str) -> Path:
    """Two pictures (uint8 (H, W, 3), of any shape) side by side with a label below; three pairs in a row.

    Raises ValueError when there is no pair.
    """
    if not pairs:
        raise ValueError("found no pair; expected at least one")
    width = 2 * PAIRED + BETWEEN
    texts = [style.wrap(label, width, style.SMALL_SIZE + 0.5, most=5) for _, _, label in pairs]
    rows = [range(start, min(start + PAIRS_ACROSS, len(pairs))) for start in range(0, len(pairs), PAIRS_ACROSS)]
    depth = [PAIRED + 6 + text_height(max(len(texts[i]) for i in row)) + GAP for row in rows]
    page = Page(min(PAIRS_ACROSS, len(pairs)) * (width + 2 * GAP) - 2 * GAP, sum(depth), title, subtitle)
    for row, step in zip(rows, depth, strict=True):
        for column, i in enumerate(row):
            left = column * (width + 2 * GAP)
            for side, picture in enumerate(pairs[i][:2]):
                page.picture(left + side * (PAIRED + BETWEEN), fitted(picture, PAIRED))
            page.text(left, PAIRED + 6, texts[i], size=style.SMALL_SIZE + 0.5)
        page.down(step)
    return page.save(path)
