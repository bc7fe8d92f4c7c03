"""Figures made of pictures: laid out in whole pixels, so that no picture is resampled twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from t2i.reporting import style
from t2i.reporting.page import GAP, Page, text_height

SMALLEST, LARGEST = 192, 256  # pixels of a picture's longer side on the page
COMPARED = 6  # captions side by side in base_versus_tuned before a new block begins


@style.styled
def sample_grid(images: np.ndarray, captions: Sequence[str], path: Path, title: str, columns: int = 5) -> Path:
    """Pictures in rows with their captions below. images: uint8 (N, H, W, 3), N >= 1, one caption each.

    Raises ValueError when the array is of another kind or the captions are not N.
    """
    tiles = enlarge(checked(images, len(captions)))
    height, width = tiles.shape[1:3]
    columns = min(columns, len(tiles))
    texts = [style.wrap(caption, width, style.TEXT_SIZE) for caption in captions]
    rows = [range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)]
    depth = [height + 8 + text_height(max(len(texts[i]) for i in row)) + GAP for row in rows]
    page = Page(columns * (width + GAP) - GAP, sum(depth), title)
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
    return rows_of_pictures(
        {name: array for name, array in given.items() if array is not None},
        captions,
        path,
        title,
        "Each column: one caption and one seed, the same for the base and the tuned model.",
    )


@style.styled
def rows_of_pictures(
    pictures: Mapping[str, np.ndarray], captions: Sequence[str], path: Path, title: str, subtitle: str
) -> Path:
    """One row a name, one column a caption; pictures: uint8 (N, H, W, 3) each, N >= 1, one caption a column.

    More than six captions continue in a block below. Raises ValueError when the arrays are of another kind or not as many
    as the captions.
    """
    rows = {name: enlarge(checked(array, len(captions))) for name, array in pictures.items()}
    width = max(tiles.shape[2] for tiles in rows.values())
    side = int(max(style.text_width(name, style.TEXT_SIZE + 1, bold=True) for name in rows)) + GAP
    texts = [style.wrap(caption, width, style.TEXT_SIZE) for caption in captions]
    columns = min(COMPARED, len(captions))
    blocks = [range(start, min(start + columns, len(captions))) for start in range(0, len(captions), columns)]
    heads = [text_height(max(len(texts[i]) for i in block)) + 6 for block in blocks]
    body = sum(array.shape[1] + GAP for array in rows.values())
    page = Page(side + columns * (width + GAP) - GAP, sum(heads) + len(blocks) * (body + GAP), title, subtitle)
    for block, head in zip(blocks, heads, strict=True):
        for column, i in enumerate(block):
            left = side + column * (width + GAP)
            page.text(left, head - 6 - text_height(len(texts[i])), texts[i])
        page.down(head)
        for name, tiles in rows.items():
            page.text(0, tiles.shape[1] / 2 - text_height(1) / 2, [name], bold=True, colour=style.colour_of(name, 0))
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
    tiles = enlarge(checked(images.reshape(-1, *images.shape[2:]), len(rows) * len(columns)))
    height, width = tiles.shape[1:3]
    side = int(max(style.text_width(name, style.TEXT_SIZE, bold=True) for name in rows)) + GAP
    heads = [style.wrap(name, width, style.TEXT_SIZE, bold=True, most=2) for name in columns]
    head = text_height(max(len(lines) for lines in heads)) + 6
    page = Page(
        side + len(columns) * (width + GAP) - GAP,
        head + len(rows) * (height + GAP),
        title,
        "Every cell: the same prompt and the same seed.",
    )
    for column, lines in enumerate(heads):
        page.text(side + column * (width + GAP), head - 6 - text_height(len(lines)), lines, bold=True)
    page.down(head)
    for row, name in enumerate(rows):
        page.text(0, height / 2 - text_height(1) / 2, [name], bold=True)
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


def checked(images: np.ndarray, count: int) -> np.ndarray:
    """The pictures themselves; ValueError unless they are uint8 (count, H, W, 3)."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images) or len(images) != count:
        raise ValueError(
            f"found {images.dtype} images of shape {images.shape} for {count} labels; expected uint8 ({count}, H, W, 3)"
        )
    return images
