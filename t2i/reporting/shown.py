"""What figures show beside plain arrays: rows of a few numbers, and pictures in squares. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from t2i.reporting.palette import FAINT


@dataclass(frozen=True)
class Change:
    """One metric's change, in its own unit."""

    name: str
    value: float
    low: float
    high: float
    smallest_detectable: float
    verdict: str
    """`better`, `worse`, or anything else, which is drawn in grey."""
    higher_is_better: bool | None


@dataclass(frozen=True)
class Gain:
    """One model's change for the better, in the unit of the metric, with its interval."""

    name: str
    value: float
    low: float
    high: float
    verdict: str
    """`better`, `worse`, or anything else, which is drawn in grey."""


@dataclass(frozen=True)
class Track:
    """One metric over the checkpoints of a training, in its own unit."""

    name: str
    values: list[float]
    low: list[float]
    high: list[float]
    verdicts: list[str]
    """Of each against the first: `better`, `worse`, or anything else, which is drawn in grey."""
    best: int | None = None
    """Which one is the best, where the metric ranks them."""
    tied: tuple[int, ...] = ()
    """Which cannot be told from it."""
    level: float | None = None
    """A number to hold them against, as a line."""
    closer: int | None = None
    """Where a shaded part begins."""
    note: str = ""
    """Beside the name: which end is better, or what the line is."""


def fitted(picture: np.ndarray, side: int) -> np.ndarray:
    """The whole picture in the middle of a square of `side` pixels on light grey; uint8 (side, side, 3)."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height) == (side, side):
        return picture
    square = Image.new("RGB", (side, side), FAINT)
    small = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    square.paste(small, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(square)
