"""`dataset=shards`: images and captions in Parquet files, or in the tar (or zip) shards of WebDataset."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.data.files.archives import SUFFIXES, is_archive, members
from t2i.data.files.kinds import READ
from t2i.data.files.parquet import container_files, read_rows, split_of
from t2i.data.files.stated import texts, word
from t2i.data.files.text_files import decoded, parsed, said
from t2i.data.sample import Sample
from t2i.data.sources.columns import Columns
from t2i.data.sources.contained import Contained
from t2i.data.sources.extract import MAX_IMAGE_BYTES, Record, hashed
from t2i.data.sources.templates import DEFAULT, check_templates, worded
from t2i.errors import ConfigError, UserError

if TYPE_CHECKING:
    from t2i.store import Store

MAX_TEXT_BYTES = 2**20
"""A .txt or .json member with more is no caption."""


@dataclass
class Shards(Contained):
    """Parquet or WebDataset shards below the root; the split of each is what its name says (train-00000.tar).

    `acquire` must come before `samples`. In WebDataset the members of one image share their name up to the first dot of
    the base name: an image, and a .txt with one caption a line, or a .json in which `columns` name the values, or a
    .cls with its class. Where none or several have a plain suffix such as .jpg, columns.image names the one to take.
    """

    kind: str = "shards"
    name: str = "shards"
    columns: Columns = field(default_factory=Columns)
    """Which column (or value of a .json) means what; for WebDataset `image` may be a suffix, such as v0.jpg."""
    labels: list[str] = field(default_factory=list)
    """Name of each class, in the order of the numbers in .cls members."""
    templates: list[str] = field(default_factory=lambda: list(DEFAULT))
    """Captions of an image that has a class and none of its own: {label} stands for it, {a label} with its article."""

    def layout(self) -> str:
        return (
            f"*.parquet (or what save_to_disk writes) with the columns {self.columns.image} and {self.columns.caption}, or "
            "*.tar shards of WebDataset"
        )

    def validate(self) -> None:
        super().validate()
        for key in ("image", "caption"):
            if not getattr(self.columns, key):
                raise ConfigError(f"dataset.columns.{key} is empty: type dataset.columns.{key}=<column>.")
        check_templates(self.templates)

    def acquire(self, store: "Store") -> None:
        """Also writes the images out as files."""
        super().acquire(store)
        files = container_files(self.location(), [".parquet", ".arrow", *SUFFIXES], self.fence())
        if not files:
            raise self.absent("no shard to read")
        self._remarks.containers = list(files.values())
        inputs = hashed(store, files)
        self.write_out(store, inputs, {"columns": asdict(self.columns)}, lambda: self._records(files))

    def meant(self, sample: Sample) -> Sample:
        if not sample.categories or any(sample.captions):
            return sample
        label = self._label(sample)
        return replace(sample, captions=worded(self.templates, label), categories=(label,))

    def _label(self, sample: Sample) -> str:
        """The name of the class that a .cls member says, by number or by name."""
        said = sample.categories[0]
        if not said.isdecimal():
            return said
        if int(said) >= len(self.labels):
            raise ConfigError(
                f"{sample.origin}: its .cls says the class {said}, and dataset.labels names {len(self.labels)}: type the "
                "name of each class, as in dataset.labels=[cat,dog]."
            )
        return self.labels[int(said)]

    def _records(self, files: Mapping[str, Path]) -> Iterator[Record]:
        tables = {name: path for name, path in files.items() if not is_archive(path)}
        for row in read_rows(tables):
            self.columns.check(row.values, row.path)
            yield self.columns.record(row.values, row.split, f"{row.split or 'row'}_{row.number:07d}", row.origin)
        for name, path in files.items():
            if is_archive(path):
                yield from self._members(name, path)

    def _members(self, shard: str, path: Path) -> Iterator[Record]:
        """Members that follow each other under one key are one record; a key without an image is listed as missing."""
        key = ""
        parts: dict[str, bytes | None] = {}
        for name, size, content in members(path):
            folder, _, file = name.rpartition("/")
            stem, _, suffix = file.partition(".")
            if file.startswith("._") or "__MACOSX" in folder or not stem:  # macOS's own, or hidden
                continue
            if f"{folder}/{stem}" != key:
                if parts:
                    yield self._record(shard, key, parts)
                key, parts = f"{folder}/{stem}", {}
            suffix = suffix.lower()
            if suffix in parts:
                raise UserError(f"{shard}: the member {name} is there twice: write the shard again.")
            end = suffix.rpartition(".")[2]
            image = f".{end}" in READ
            if image or end in ("txt", "json", "cls"):
                most = MAX_IMAGE_BYTES if image else MAX_TEXT_BYTES
                parts[suffix] = content.read() if size <= most else None
        if parts:
            yield self._record(shard, key, parts)

    def _record(self, shard: str, key: str, parts: Mapping[str, bytes | None]) -> Record:
        origin = f"{shard}/{key.lstrip('/')}"
        picture = self._picture(origin, list(parts))
        before = f"{picture.rpartition('.')[0]}." if "." in picture else ""
        text, json, cls = (
            parts.get(f"{before}{end}") or parts.get(end) or b"" for end in ("txt", "json", "cls")
        )  # v0.txt beside v0.jpg, where there is one
        values = parsed(decoded(json, f"{origin}.json"), f"{origin}.json") if json else {}
        values = values if isinstance(values, dict) else {}
        captions = said(decoded(text, f"{origin}.txt"))
        if not captions:
            captions = [
                item
                for name in self.columns.caption.split("+")
                for item in texts(values.get(name), f"{origin}.json", name)
            ]
        label = decoded(cls, f"{origin}.cls").strip()
        stated = {
            name: word(values.get(column), f"{origin}.json", column) if (column := getattr(self.columns, name)) else ""
            for name in ("id", "split", "license")
        }
        return Record(
            id=stated["id"] or origin,
            image=parts[picture] if picture else None,
            captions=captions,
            split=stated["split"] or split_of(shard),
            categories=[label] if label else [],
            license=stated["license"],
            origin=origin,
        )

    def _picture(self, origin: str, suffixes: list[str]) -> str:
        """Which of the members of a key is the picture; empty where none is. Raises UserError where that is not plain."""
        images = [suffix for suffix in suffixes if f".{suffix.rpartition('.')[2]}" in READ]
        plain = [suffix for suffix in images if "." not in suffix]
        named = self.columns.image.lstrip(".").lower()
        if named in images:
            return named
        if len(plain) == 1:
            return plain[0]
        if not images:
            return ""
        raise UserError(
            f"{origin} has {'several pictures' if len(images) > 1 else 'no picture with a plain suffix'} "
            f"({', '.join(f'.{suffix}' for suffix in images)}; a key ends at the first dot): type which one is meant, as in "
            f"dataset.columns.image={images[0]}, or write shards whose names differ before the first dot."
        )
