"""Figures made of pictures: laid out in whole pixels, so that no picture is resampled twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from t2i.reporting import style

SMALLEST, LARGEST = 192, 256  # pixels of a picture's longer side on the page
GAP, MARGIN = 14, 28  # pixels between pictures and around the page
COMPARED = 6  # captions side by side in base_versus_tuned before a new block begins


@style.styled
def sample_grid(images: np.ndarray, captions: Sequence[str], path: Path, title: str, columns: int = 5) -> Path:
    """Pictures in rows with their captions below. images: uint8 (N, H, W, 3), N >= 1, one caption each.

    Raises ValueError when the array is of another kind or the captions are not N.
    """
    tiles = enlarge(_checked(images, len(captions)))
    height, width = tiles.shape[1:3]
    columns = min(columns, len(tiles))
    texts = [style.wrap(caption, width, style.TEXT_SIZE) for caption in captions]
    rows = [range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)]
    depth = [height + 8 + _text_height(max(len(texts[i]) for i in row)) + GAP for row in rows]
    page = _Page(columns * (width + GAP) - GAP, sum(depth), title)
    for row, step in zip(rows, depth, strict=True):
        for column, i in enumerate(row):
            page.picture(column * (width + GAP), tiles[i])
            page.text(column * (width + GAP), height + 8, texts[i])
        page.down(step)
    return page.save(path)


@style.styled
def base_versus_tuned(
    base: np.ndarray,
    tuned: np.ndarray,
    captions: Sequence[str],
    path: Path,
    title: str,
    real: np.ndarray | None = None,
) -> Path:
    """One column per caption; rows: the real picture (where given), the base model, the tuned model.

    base, tuned, real: uint8 (N, H, W, 3), N >= 1. More than six captions continue in a block below. Raises ValueError
    when the arrays are of another kind or not as many as the captions.
    """
    given = {"real": real, "base": base, "tuned": tuned}
    rows = {name: enlarge(_checked(array, len(captions))) for name, array in given.items() if array is not None}
    height, width = rows["base"].shape[1:3]
    side = int(max(style.text_width(name, style.TEXT_SIZE + 1, bold=True) for name in rows)) + GAP
    texts = [style.wrap(caption, width, style.TEXT_SIZE) for caption in captions]
    columns = min(COMPARED, len(captions))
    blocks = [range(start, min(start + columns, len(captions))) for start in range(0, len(captions), columns)]
    heads = [_text_height(max(len(texts[i]) for i in block)) + 6 for block in blocks]
    body = sum(array.shape[1] + GAP for array in rows.values())
    page = _Page(
        side + columns * (width + GAP) - GAP,
        sum(heads) + len(blocks) * (body + GAP),
        title,
        "Each column: one caption and one seed, the same for the base and the tuned model.",
    )
    for block, head in zip(blocks, heads, strict=True):
        for column, i in enumerate(block):
            left = side + column * (width + GAP)
            page.text(left, head - 6 - _text_height(len(texts[i])), texts[i])
        page.down(head)
        for name, tiles in rows.items():
            page.text(0, tiles.shape[1] / 2 - _text_height(1) / 2, [name], bold=True, colour=style.colour_of(name, 0))
            for column, i in enumerate(block):
                page.picture(side + column * (width + GAP), tiles[i])
            page.down(tiles.shape[1] + GAP)
        page.down(GAP)
    return page.save(path)


@style.styled
def cell_grid(
    rows: Sequence[str],
    columns: Sequence[str],
    images: np.ndarray,
    path: Path,
    title: str,
    failed: np.ndarray | None = None,
) -> Path:
    """The same prompt and seed in each cell of a sweep. images: uint8 (R, C, H, W, 3); failed: bool (R, C).

    Failed cells are hatched instead of drawn. Raises ValueError when the shapes do not fit the labels.
    """
    if images.ndim != 5 or images.shape[:2] != (len(rows), len(columns)):
        raise ValueError(f"found images of shape {images.shape}; expected ({len(rows)}, {len(columns)}, H, W, 3)")
    tiles = enlarge(_checked(images.reshape(-1, *images.shape[2:]), len(rows) * len(columns)))
    height, width = tiles.shape[1:3]
    side = int(max(style.text_width(name, style.TEXT_SIZE, bold=True) for name in rows)) + GAP
    heads = [style.wrap(name, width, style.TEXT_SIZE, bold=True, most=2) for name in columns]
    head = _text_height(max(len(lines) for lines in heads)) + 6
    page = _Page(
        side + len(columns) * (width + GAP) - GAP,
        head + len(rows) * (height + GAP),
        title,
        "Every cell: the same prompt and the same seed.",
    )
    for column, lines in enumerate(heads):
        page.text(side + column * (width + GAP), head - 6 - _text_height(len(lines)), lines, bold=True)
    page.down(head)
    for row, name in enumerate(rows):
        page.text(0, height / 2 - _text_height(1) / 2, [name], bold=True)
        for column in range(len(columns)):
            left = side + column * (width + GAP)
            if failed is not None and failed[row, column]:
                page.failure(left, width, height)
            else:
                page.picture(left, tiles[row * len(columns) + column])
        page.down(height + GAP)
    return page.save(path)


def enlarge(images: np.ndarray) -> np.ndarray:
    """Pictures at a size that reads well: small ones by a whole factor, large ones reduced; uint8 (N, h, w, 3).

    Lanczos both ways: at 64 x 64 it shows what is drawn, where hard pixel edges would distract from it.
    """
    height, width = images.shape[1:3]
    longer = max(height, width)
    factor = max(1, SMALLEST // longer) if longer < SMALLEST else min(1.0, LARGEST / longer)
    if factor == 1:
        return images
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)) for image in images])


def _checked(images: np.ndarray, count: int) -> np.ndarray:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images) or len(images) != count:
        raise ValueError(
            f"found {images.dtype} images of shape {images.shape} for {count} captions; expected uint8 ({count}, H, W, 3)"
        )
    return images


def _text_height(lines: int) -> int:
    return int(np.ceil(lines * style.line_height(style.TEXT_SIZE)))


class _Page:
    """A figure in pixels: pictures and texts are put at a distance from the left and from a line that moves down."""

    def __init__(self, width: int, height: int, title: str, subtitle: str = "") -> None:
        inner = max(width, 460)  # a heading needs some room even over a single picture
        lines = style.wrap(title, inner, style.TITLE_SIZE, bold=True, most=3)
        notes = style.wrap(subtitle, inner, style.TEXT_SIZE) if subtitle else []
        heading = int(len(lines) * style.line_height(style.TITLE_SIZE)) + _text_height(len(notes)) + 12
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
