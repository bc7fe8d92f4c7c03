"""The files that hold prepared images: Parquet shards that Hugging Face `datasets` opens with its Image feature."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from t2i.data.files.fence import written
from t2i.data.preparation.decode import Picture
from t2i.data.sample import Sample

ROWS_PER_GROUP = 16
"""Images that are read from the disk together: small, because training visits them in random order."""
ROWS_PER_SHARD = 1024
"""What a killed run loses at most."""
TEXT = {"dtype": "string", "_type": "Value"}
NUMBER = {"dtype": "int32", "_type": "Value"}
COLUMNS: dict[str, tuple[pa.DataType, Any]] = {
    "image": (pa.struct({"bytes": pa.binary(), "path": pa.string()}), {"_type": "Image"}),
    "id": (pa.string(), TEXT),
    "captions": (pa.list_(pa.string()), [TEXT]),
    "domains": (pa.list_(pa.string()), [TEXT]),
    "categories": (pa.list_(pa.string()), [TEXT]),
    "license": (pa.string(), TEXT),
    "sha256": (pa.string(), TEXT),  # of the source file
    "width": (pa.int32(), NUMBER),  # of the source as it is looked at
    "height": (pa.int32(), NUMBER),
    "size": (pa.list_(pa.int32()), [NUMBER]),  # width and height of the prepared picture
    "content": (pa.string(), TEXT),  # digest of the prepared pixels
    "phash": (pa.string(), TEXT),  # perceptual hash
    "repeats": (pa.int32(), NUMBER),  # how often an epoch sees it
}
FEATURES = {name: feature for name, (_, feature) in COLUMNS.items()}
SCHEMA = pa.schema(
    {name: kind for name, (kind, _) in COLUMNS.items()},
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)


def shard_paths(folder: Path, split: str) -> list[Path]:
    """The shards of a split, in order."""
    return sorted(folder.glob(f"{split}-[0-9]*.parquet"))


class ShardWriter:
    """Writes one split; a context manager. A shard has its name once it is whole and on the disk.

    An empty split is one shard without rows, unless `empty` is False: then it is none.
    """

    def __init__(self, folder: Path, split: str, empty: bool = True) -> None:
        self._folder, self._split, self._empty = folder, split, empty
        self._rows: list[dict[str, Any]] = []
        self._shards = 0
        self._in_shard = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, sample: Sample, picture: Picture, file: str, sha256: str) -> None:
        """Appends a row; `file` is what the `path` of the image column says, `sha256` the digest of that file."""
        self.append(
            {
                "image": {"bytes": picture.png, "path": written(file)},
                "id": written(sample.id),
                "captions": sample.captions,
                "domains": sample.domains,
                "categories": sample.categories,
                "license": sample.license,
                "sha256": sha256,
                "width": picture.width,
                "height": picture.height,
                "size": picture.size,
                "content": picture.content,
                "phash": picture.phash,
                "repeats": sample.repeats,
            }
        )

    def append(self, row: dict[str, Any]) -> None:
        """Appends a row with the columns of `SCHEMA`."""
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def _path(self) -> Path:
        return self._folder / f"{self._split}-{self._shards:05d}.parquet"

    def _flush(self) -> None:
        if self._writer is None:
            # PNG is compressed already, and statistics of image bytes would only repeat them.
            self._writer = pq.ParquetWriter(
                self._path().with_suffix(".part"), SCHEMA, compression="NONE", use_dictionary=False,
                write_statistics=False,
            )  # fmt: skip
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._in_shard += len(self._rows)
        self._rows = []
        if self._in_shard >= ROWS_PER_SHARD:
            self._finish()

    def _finish(self) -> None:
        assert self._writer is not None
        self._writer.close()
        self._writer = None
        part = self._path().with_suffix(".part")
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        part.rename(self._path())
        self._shards += 1
        self._in_shard = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if self._writer is not None:
                self._writer.close()
            return
        if self._rows or (self._empty and not self._shards and self._writer is None):
            self._flush()
        if self._writer is not None:
            self._finish()


def row_groups(paths: Sequence[Path]) -> list[tuple[pq.ParquetFile, int, int]]:
    """Every row group of the shards: the open file, its number within it, and how many rows it has."""
    groups = []
    for path in paths:
        file = pq.ParquetFile(path, memory_map=True)
        groups += [(file, number, file.metadata.row_group(number).num_rows) for number in range(file.num_row_groups)]
    return groups
