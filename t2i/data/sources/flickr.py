"""`dataset=flickr30k`, `dataset=flickr8k` in each form in which people have them."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.data.files.parquet import parquet_files, read_rows
from t2i.data.files.text_files import lines
from t2i.data.sample import Sample, clean
from t2i.data.sources import karpathy
from t2i.data.sources.columns import Columns
from t2i.data.sources.extract import Record, extract, extracted, hashed
from t2i.data.sources.layouts import find, image_folder
from t2i.data.splits import NamedSplit
from t2i.errors import UserError

if TYPE_CHECKING:
    from t2i.store import Store

KARPATHY = ["dataset_flickr30k.json", "dataset_flickr8k.json", "dataset.json"]
TABLES = ["results.csv", "results_20130124.token", "Flickr8k.token.txt", "captions.txt"]
SPLIT_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "dev": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
FOLDERS = [
    *("Flicker8k_Dataset", "Flickr8k_Dataset", "Images", "images", "flickr30k-images", "flickr30k_images", ""),
    *("Flickr8k_Dataset/Flicker8k_Dataset", "flickr30k_images/flickr30k_images"),
]
"""Where images lie below the root, or below the folder of the captions."""
COLUMNS = Columns(image="image", caption="caption", split="split", id="filename")
"""Of the hub's Parquet (nlphuji/flickr30k)."""
Captions = Iterable[tuple[str, str, list[str]]]
"""Split, file and captions of each image."""


@dataclass
class Flickr(NamedSplit):
    """Images with five captions each. Of several forms that lie side by side, the one with splits is read:

    Karpathy's JSON (train, val, test); Flickr8k.token.txt or captions.txt with Flickr_8k.*Images.txt (train, dev,
    test); the hub's Parquet (its column split); and, without splits, Kaggle's results.csv and captions.txt and the
    .token files. Of those with splits, val and dev are used by neither side unless a split names them.
    """

    kind: str = "flickr"
    name: str = "flickr30k"

    def layout(self) -> str:
        return (
            f"{KARPATHY[0]}, {KARPATHY[1]}, {', '.join(TABLES)} (with Flickr_8k.trainImages.txt and its companions or "
            "without) and the images, or *.parquet with image, caption, split and filename"
        )

    def acquire(self, store: "Store") -> None:
        """Also writes the images of Parquet files out."""
        super().acquire(store)
        if self._caption_file() is None and (files := parquet_files(self.location(), self.fence())):
            self._remarks.containers = list(files.values())
            inputs = hashed(store, files)
            self._place = extract(store, inputs, {"kind": "flickr"}, lambda: _parquet(files))

    def everything(self) -> Iterator[tuple[str, Sample]]:
        path = self._caption_file()
        if path is None:
            if not (self.location() / "index.jsonl").is_file():
                raise self.absent(f"no captions of {self.name}")
            yield from extracted(self.location())
            return
        captions = iter(_captions(path, self.location()))
        first = list(islice(captions, 1000))
        if not first:
            raise UserError(f"{path} has no caption: download it again.")
        folders = list(dict.fromkeys(_below(self.location(), path.parent)))
        folder = image_folder(self, folders, [name for _, name, _ in first], len(first), path.name)
        for split, name, texts in chain(first, captions):
            yield split, Sample(name, folder / name, clean(texts), (), ())

    def _caption_file(self) -> Path | None:
        root = self.location()
        return find(root, KARPATHY) or find(root, TABLES)


def _below(root: Path, folder: Path) -> Iterator[str]:
    for base in (root, folder):
        for name in FOLDERS:
            yield (base / name).relative_to(root).as_posix()


def _captions(path: Path, root: Path) -> Captions:
    if path.name in KARPATHY:
        return ((entry.split, entry.file, entry.captions) for entry in karpathy.entries(path))
    captions = _pipes(path) if path.suffix == ".csv" else _commas(path) if path.name == "captions.txt" else _tabs(path)
    merged: dict[str, list[str]] = {}
    for name, text in captions:
        merged.setdefault(name, []).append(text)
    splits = _splits(path, root)
    return ((splits.get(name, ""), name, texts) for name, texts in sorted(merged.items()))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    return ((number, line.rstrip("\r\n")) for number, line in lines(path) if line.strip())


def _pipes(path: Path) -> Iterator[tuple[str, str]]:
    """Kaggle's results.csv: `image_name| comment_number| comment`.

    One line of the published file lacks the second separator: `2199200615.jpg| 4   A dog runs across the grass .`
    """
    for number, line in _lines(path):
        if number == 1 and line.startswith("image_name"):
            continue
        found = re.fullmatch(r"\s*([^|]+?)\s*\|\s*(\d+)\s*(?:\||\s)(.*)", line)
        if not found:
            raise UserError(
                f"{path}, line {number}: expected image_name| comment_number| comment, found {line[:80]!r}."
            )
        yield found[1], found[3]


def _tabs(path: Path) -> Iterator[tuple[str, str]]:
    """Flickr8k.token.txt and results_20130124.token: `1000268201_693b08cb0e.jpg#0<tab>A child in a pink dress .`"""
    for number, line in _lines(path):
        found = re.fullmatch(r"(.+)#\d+\t(.*)", line)
        if not found:
            raise UserError(f"{path}, line {number}: expected <image>#<number><tab><caption>, found {line[:80]!r}.")
        yield found[1], found[2]


def _commas(path: Path) -> Iterator[tuple[str, str]]:
    """Kaggle's captions.txt: `image,caption` with a header, captions with commas in quotes or not; one a line."""
    for number, line in _lines(path):
        name, comma, text = line.partition(",")
        if text.lstrip().startswith('"') or name.startswith('"'):
            try:
                name, text = next(csv.reader([line], strict=True, skipinitialspace=True))
            except (csv.Error, ValueError) as error:
                raise UserError(
                    f"{path}, line {number}: expected image,caption, found {line[:80]!r}: close every quote, and write "
                    'one inside of a quoted caption twice ("").'
                ) from error
        elif not comma:
            raise UserError(f"{path}, line {number}: expected image,caption, found {line[:80]!r}.")
        if (number, name) != (1, "image"):
            yield name.strip(), text


def _splits(captions: Path, root: Path) -> Mapping[str, str]:
    """Splits by file where Flickr8k's lists lie beside the captions; what none of them names is used by no side."""
    splits: dict[str, str] = {}
    for split, name in SPLIT_LISTS.items():
        path = captions.parent / name
        path = path if path.is_file() else root / name
        if path.is_file():
            splits.update((line.strip(), split) for _, line in _lines(path))
    return splits


def _parquet(files: Mapping[str, Path]) -> Iterator[Record]:
    for row in read_rows(files):
        COLUMNS.check(row.values, row.path)
        yield COLUMNS.record(row.values, row.split, row.origin, row.origin)
