"""Prepared images as training and evaluation read them: texts in memory, pixels decoded on demand."""

import copy
import io
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from t2i.data.base import SPLITS, draw
from t2i.data.crop import Crop, corner
from t2i.data.preparation.shards import row_groups, shard_paths
from t2i.errors import UserError
from t2i.store import read_manifest

CACHE_BYTES = 128 * 2**20
"""Encoded images that a split keeps in memory at most."""
MADE_FROM = ("width", "height", "sha256")
"""Columns of what is known of a picture's file."""


def _columns(path: Path, *names: str) -> dict[str, list[Any]]:
    """Of a whole file. `pyarrow.parquet.read_table` would import pandas, half a second in every command."""
    with pq.ParquetFile(path) as file:
        found: dict[str, list[Any]] = file.read(columns=list(names)).to_pydict()
    return found


class Split:
    """The images of one split. `ids`, `captions`, `domains` and `categories` have one entry an image.

    `sizes`: width and height in pixels, int32 (N, 2); all the same unless they were prepared in buckets. `originals`: the same
    of the files that they were made from. `repeats`: how often an epoch of training sees each, int32 (N,).
    """

    def __init__(self, folder: Path, name: str, prepared: Mapping[str, Any] | None = None) -> None:
        """prepared: what the pictures were prepared with: `crop` and `seed`."""
        self.name = name
        self._prepared = prepared or {}
        self.ids: list[str] = []
        self.captions: list[list[str]] = []
        self.domains: list[list[str]] = []
        self.categories: list[list[str]] = []
        self._files: list[str] = []
        sizes, repeats = [np.empty((0, 2), np.int32)], [np.empty(0, np.int32)]
        originals = [np.empty((0, 2), np.int32)]
        paths = shard_paths(folder, name)
        if not paths:
            raise FileNotFoundError(f"{folder} has no shard of the split {name}")
        for path in paths:
            columns = _columns(path, "id", "captions", "domains", "categories", "size", "repeats", *MADE_FROM)
            self.ids += columns["id"]
            self.captions += columns["captions"]
            self.domains += columns["domains"]
            self.categories += columns["categories"]
            sizes.append(np.array(columns["size"], np.int32).reshape(-1, 2))
            repeats.append(np.array(columns["repeats"], np.int32))
            originals.append(np.array([columns["width"], columns["height"]], np.int32).T.reshape(-1, 2))
            self._files += columns["sha256"]
        self.sizes, self.repeats = np.concatenate(sizes), np.concatenate(repeats)
        self.originals = np.concatenate(originals)
        self._rows = np.arange(len(self.ids))
        self._groups = row_groups(paths)
        self._starts = np.cumsum([0, *(rows for _, _, rows in self._groups)])
        self._cache: OrderedDict[int, list[bytes]] = OrderedDict()
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, rows: Sequence[int] | np.ndarray) -> "Split":
        """The images at `rows` as a split of their own, named for how many they are."""
        chosen, places = copy.copy(self), np.asarray(rows, dtype=np.int64)
        for name in ("ids", "captions", "domains", "categories"):
            values = getattr(self, name)
            setattr(chosen, name, [values[place] for place in places.tolist()])
        chosen.sizes, chosen._rows = self.sizes[places], self._rows[places]
        chosen.repeats, chosen.originals = self.repeats[places], self.originals[places]
        chosen.name = f"{self.name}, {len(places)} of {len(self)}"
        return chosen

    def repeated(self) -> "Split":
        """Every image as often as an epoch sees it, the second time as `<id>#2`: with noise of its own."""
        if not len(self) or int(self.repeats.max()) == 1:
            return self
        found = self.part(np.repeat(np.arange(len(self)), self.repeats))
        times = [number for count in self.repeats.tolist() for number in range(1, count + 1)]
        found.ids = [f"{key}#{n}" if n > 1 else key for key, n in zip(found.ids, times, strict=True)]
        found.name, found.repeats = self.name, np.ones(len(found), np.int32)
        return found

    def pixels(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The pictures at `indices` (one at least), uint8 (N, H, W, 3), RGB. Raises UserError unless of equal size."""
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (0 <= wanted.min() and wanted.max() < len(self)):
            raise IndexError(f"indices of the split {self.name} go from 0 to {len(self) - 1}, got {wanted.tolist()}")
        if len(sizes := np.unique(self.sizes[wanted], axis=0)) > 1:
            raise UserError(
                f"pictures of {sizes[0][0]} x {sizes[0][1]} and {sizes[1][0]} x {sizes[1][1]} pixels are no batch: take "
                f"those of one size together, or prepare all of one size with dataset.crop=centre."
            )
        wanted = self._rows[wanted]
        groups = np.searchsorted(self._starts, wanted, side="right") - 1
        pictures: dict[int, np.ndarray] = {}
        for position in np.argsort(groups, kind="stable").tolist():
            group = int(groups[position])
            png = self._group(group)[int(wanted[position] - self._starts[group])]
            with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
                pictures[position] = np.asarray(image)
        return np.stack([pictures[position] for position in range(len(wanted))])

    def squares(self, indices: Sequence[int] | np.ndarray, side: int) -> np.ndarray:
        """The same as side x side pixels, whatever the crop: of a picture in another shape the middle is taken."""
        if bool((self.sizes[np.asarray(indices, dtype=np.int64)] == side).all()):
            return self.pixels(indices)
        pictures = []
        for index in np.asarray(indices, dtype=np.int64).tolist():
            picture = Image.fromarray(self.pixels([index])[0])
            pictures.append(np.asarray(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)))
        return np.stack(pictures)

    def corner(self, index: int) -> tuple[int, int]:
        """Left and top of what was kept of the file's picture, in pixels of the whole when it is made as large."""
        (width, height), (wide, high) = self.originals[index].tolist(), self.sizes[index].tolist()
        place = 0.5
        if self._prepared.get("crop") == Crop.random.value:
            place = draw(self._prepared["seed"], "crop", self._files[int(self._rows[index])])
        return corner(width, height, (wide, high), place)

    def encoded(self, index: int) -> bytes:
        """The file, PNG, of the picture at `index`: what its content is told by."""
        row = int(self._rows[index])
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._group(group)[row - int(self._starts[group])]

    def _group(self, number: int) -> list[bytes]:
        """The encoded images of a row group, from memory when it was read lately."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        file, group, _ = self._groups[number]
        images = file.read_row_group(group, columns=["image.bytes"])["image"].to_pylist()
        images = [image["bytes"] for image in images]
        self._cache[number] = images
        self._cached_bytes += sum(map(len, images))
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= sum(map(len, self._cache.popitem(last=False)[1]))
        return images


class Prepared:
    """The folder that `prepare` wrote; splits are opened when they are asked for and kept open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._splits: dict[str, Split] = {}

    def split(self, name: str) -> Split:
        """The split `name`: "train" or "held_out"."""
        if name not in SPLITS:
            raise KeyError(f"{name!r} is not a split: train and held_out are")
        if name not in self._splits:
            manifest = read_manifest(self.path)
            self._splits[name] = Split(self.path, name, manifest["config"] if manifest else None)
        return self._splits[name]

    def licenses(self, name: str) -> dict[str, int]:
        """Pictures of a split by licence, as the source names it; those without are not counted."""
        columns = [_columns(path, "license")["license"] for path in shard_paths(self.path, name)]
        return dict(sorted(Counter(licence for column in columns for licence in column if licence).items()))
