"""A figure measured in whole pixels, on which pictures are put without resampling them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from t2i.reporting import style
from t2i.reporting.names import readable

GAP, MARGIN = 14, 28  # pixels between pictures and around the page


def text_height(lines: int) -> int:
    """Pixels that so many lines of a caption take."""
    return int(np.ceil(lines * style.line_height(style.TEXT_SIZE)))


class Page:
    """Pictures (uint8 (H, W, 3)) and texts are put at a distance from the left and below a line that moves down.

    width and height are what the content takes, without margins and heading.
    """

    def __init__(self, width: int, height: int, title: str, subtitle: str = "") -> None:
        inner = max(width, 460)  # a heading needs some room even over a single picture
        lines = style.wrap(readable(title), inner, style.TITLE_SIZE, bold=True, most=3)
        notes = style.wrap(readable(subtitle), inner, style.TEXT_SIZE) if subtitle else []
        heading = int(len(lines) * style.line_height(style.TITLE_SIZE)) + text_height(len(notes)) + 12
        self.width, self.height = inner + 2 * MARGIN, height + heading + 2 * MARGIN - GAP
        self.figure = Figure(figsize=(self.width / style.DPI, self.height / style.DPI), dpi=style.DPI)
        FigureCanvasAgg(self.figure)
        self.line = MARGIN
        self.text(0, 0, lines, bold=True, size=style.TITLE_SIZE)
        self.text(0, len(lines) * style.line_height(style.TITLE_SIZE), notes, colour=style.MUTED)
        self.down(heading)

    def down(self, pixels: int) -> None:
        self.line += pixels

    def text(
        self,
        left: float,
        below: float,
        lines: Sequence[str],
        bold: bool = False,
        colour: str = style.INK,
        size: float = style.TEXT_SIZE,
    ) -> None:
        for index, line in enumerate(lines):
            top = self.line + below + index * style.line_height(size)
            self.figure.text(
                (MARGIN + left) / self.width,
                1 - top / self.height,
                line,
                size=size,
                color=colour,
                va="top",
                weight="bold" if bold else "normal",
            )

    def picture(self, left: int, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        self.figure.figimage(image, xo=MARGIN + left, yo=self.height - self.line - height, origin="upper")
        self._frame(left, width, height)

    def failure(self, left: int, width: int, height: int) -> None:
        self._frame(left, width, height, hatch="////")
        self.figure.text(
            (MARGIN + left + width / 2) / self.width,
            1 - (self.line + height / 2) / self.height,
            "failed",
            size=style.TEXT_SIZE,
            color=style.MUTED,
            ha="center",
            va="center",
            backgroundcolor=style.PAPER,
        )

    def _frame(self, left: int, width: int, height: int, hatch: str | None = None) -> None:
        corner = (MARGIN + left) / self.width, 1 - (self.line + height) / self.height
        self.figure.add_artist(
            Rectangle(
                corner,
                width / self.width,
                height / self.height,
                transform=self.figure.transFigure,
                fill=False,
                edgecolor=style.FAINT,
                linewidth=0.6,
                hatch=hatch,
            )
        )

    def save(self, path: Path) -> Path:
        return style.save(self.figure, path)
