"""`dataset=cifar10`, `dataset=fashion_mnist`: images with one label each, whose captions are made by templates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.data.files.parquet import parquet_files, read_rows
from t2i.data.sample import Sample
from t2i.data.sources.contained import Contained
from t2i.data.sources.extract import Record, hashed
from t2i.data.sources.label_files import BATCHES, IDX, read_batches, read_idx
from t2i.data.sources.layouts import find
from t2i.data.sources.templates import DEFAULT, check_templates, worded
from t2i.errors import ConfigError, UserError

if TYPE_CHECKING:
    import numpy as np

    from t2i.store import Store

ARCHIVES = ["cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"]
IMAGE_COLUMNS = ("img", "image")


@dataclass
class LabelledImages(Contained):
    """CIFAR-10 as batches (Python's, read without unpickling, or binary), idx files, or the hub's Parquet of either.

    `acquire` must come before `samples`. Categories are the labels; domains come from the keywords.
    """

    kind: str = "labelled"
    name: str = "cifar10"
    labels: list[str] = field(default_factory=list)
    """Name of each class, in the order of the label numbers."""
    templates: list[str] = field(default_factory=lambda: list(DEFAULT))
    """Captions of every image: {label} stands for the class, {a label} for the class with its article."""

    def layout(self) -> str:
        return (
            "cifar-10-batches-py/ or cifar-10-batches-bin/ (or their .tar.gz), train-images-idx3-ubyte.gz and its three "
            "companions, or *.parquet with the columns img (or image) and label"
        )

    def validate(self) -> None:
        super().validate()
        if not self.labels:
            raise ConfigError("dataset.labels is empty: type the names of the classes, as in dataset.labels=[cat,dog].")
        check_templates(self.templates)

    def acquire(self, store: "Store") -> None:
        """Also writes the images out as files."""
        super().acquire(store)
        files, records = self._files(self.location())
        self._remarks.containers = list(files.values())
        self.write_out(store, hashed(store, files), {"kind": "labelled"}, records)

    def meant(self, sample: Sample) -> Sample:
        number = int(sample.categories[0])
        if not 0 <= number < len(self.labels):
            raise ConfigError(
                f"dataset.labels names {len(self.labels)} classes, but {sample.id} has the label number {number}: "
                "name every class."
            )
        label = self.labels[number]
        return replace(sample, captions=worded(self.templates, label), categories=(label,))

    def _files(self, root: Path) -> tuple[dict[str, Path], Callable[[], Iterator[Record]]]:
        """The files that hold the images, by what each is, and what reads them."""
        for names in (BATCHES, [f"{name}.bin" for name in BATCHES]):
            if first := find(root, names):
                files = self._complete({name: [first.parent / name] for name in names})
                return files, partial(_records, files)
        if archive := find(root, ARCHIVES):
            return {"": archive}, partial(_records, {"": archive})
        if first := find(root, [form for name in IDX for form in (name, f"{name}.gz")]):
            files = self._complete({name: [first.parent / f"{name}.gz", first.parent / name] for name in IDX})
            return files, partial(_idx_records, files)
        files = parquet_files(root, self.fence())
        if not files:
            raise self.absent(f"no images of {self.name}")
        return files, partial(_parquet_records, files)

    def _complete(self, choices: dict[str, list[Path]]) -> dict[str, Path]:
        there = {name: path for name, paths in choices.items() for path in paths if path.is_file()}
        missing = [name for name in choices if name not in there]
        if missing:
            raise self.absent(f"{', '.join(missing)} of {self.name} missing beside {', '.join(there)}")
        return there


def _records(files: dict[str, Path]) -> Iterator[Record]:
    return (_record(item.id, item.pixels, item.label, item.split, item.id) for item in read_batches(files))


def _idx_records(files: dict[str, Path]) -> Iterator[Record]:
    return (_record(item.id, item.pixels, item.label, item.split, item.id) for item in read_idx(files))


def _record(key: str, image: "bytes | np.ndarray | None", label: int, split: str, origin: str) -> Record:
    return Record(key, image, [], split, [str(label)], origin=origin)


def _parquet_records(files: dict[str, Path]) -> Iterator[Record]:
    for row in read_rows(files):
        image = next((row.values[name] for name in IMAGE_COLUMNS if name in row.values), None)
        label = row.values.get("label")
        if image is None or not isinstance(label, int):
            raise UserError(
                f"{row.path} has the columns {sorted(row.values)}: expected img or image, and label as a number."
            )
        yield _record(f"{row.split or 'row'}_{row.number:05d}", image, label, row.split, row.origin)
