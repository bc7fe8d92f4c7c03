"""`dataset=shards`: images and captions in Parquet files, or in the tar (or zip) shards of WebDataset."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.data.archives import SUFFIXES, is_archive, members
from t2i.data.base import Sample
from t2i.data.columns import Columns, texts
from t2i.data.extract import MAX_IMAGE_BYTES, Record, extract, extracted
from t2i.data.parquet import container_files, read_rows, split_of
from t2i.data.splits import NamedSplit
from t2i.errors import ConfigError, UserError

if TYPE_CHECKING:
    from t2i.store import Store

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
MAX_TEXT_BYTES = 2**20
"""A .txt or .json member with more is no caption."""


@dataclass
class Shards(NamedSplit):
    """Parquet or WebDataset shards below the root; the split of each is what its name says (train-00000.tar).

    `acquire` must come before `samples`. In WebDataset the members of one image share their name up to the first dot:
    an image, and a .txt with one caption a line, or a .json in which `columns` name the values.
    """

    kind: str = "shards"
    name: str = "shards"
    columns: Columns = field(default_factory=Columns)
    """Which column (or value of a .json) means what."""

    def layout(self) -> str:
        return (
            f"*.parquet with the columns {self.columns.image} and {self.columns.caption}, or *.tar shards of WebDataset"
        )

    def validate(self) -> None:
        super().validate()
        for key in ("image", "caption"):
            if not getattr(self.columns, key):
                raise ConfigError(f"dataset.columns.{key} is empty: type dataset.columns.{key}=<column>.")

    def acquire(self, store: "Store") -> None:
        """Also writes the images out as files."""
        super().acquire(store)
        files = container_files(self.location(), [".parquet", *SUFFIXES])
        if not files:
            raise self.absent("no shard to read")
        digests = store.file_digests(list(files.values()))
        inputs = dict(zip(files, digests, strict=True))
        self._place = extract(store, inputs, {"columns": asdict(self.columns)}, lambda: self._records(files))

    def everything(self) -> Iterator[tuple[str, Sample]]:
        return extracted(self.location())

    def _records(self, files: Mapping[str, Path]) -> Iterator[Record]:
        tables = {name: path for name, path in files.items() if not is_archive(path)}
        for row in read_rows(tables):
            self.columns.check(row.values, row.path)
            yield self.columns.record(row.values, row.split, f"{row.split or 'row'}_{row.number:07d}")
        for name, path in files.items():
            if is_archive(path):
                yield from self._members(name, path)

    def _members(self, shard: str, path: Path) -> Iterator[Record]:
        """Members that follow each other under one key are one record; a key without an image is listed as missing."""
        key = ""
        parts: dict[str, bytes] = {}
        for name, size, content in members(path):
            folder, _, file = name.rpartition("/")
            stem, _, suffix = file.partition(".")
            if f"{folder}/{stem}" != key:
                if parts:
                    yield self._record(shard, key, parts)
                key, parts = f"{folder}/{stem}", {}
            last = suffix.lower().rpartition(".")[2]
            kind = "image" if last in IMAGES else last
            if kind in ("image", "txt", "json") and size <= (MAX_IMAGE_BYTES if kind == "image" else MAX_TEXT_BYTES):
                parts[kind] = content.read()
        if parts:
            yield self._record(shard, key, parts)

    def _record(self, shard: str, key: str, parts: Mapping[str, bytes]) -> Record:
        values = _json(parts.get("json", b"{}"), f"{key} in {shard}")
        captions = parts["txt"].decode("utf-8", "replace").splitlines() if "txt" in parts else []
        if not captions:
            captions = [text for name in self.columns.caption.split("+") for text in texts(values.get(name))]
        return Record(
            id=str(values.get(self.columns.id) or f"{shard}/{key.lstrip('/')}"),
            image=parts.get("image"),
            captions=captions,
            split=str(values.get(self.columns.split) or split_of(shard)),
            license=str(values.get(self.columns.license) or ""),
        )


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: its .json is damaged ({str(error)[:120]}): write the shard again.") from error
    return values if isinstance(values, dict) else {}
