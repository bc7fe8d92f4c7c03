"""The files that hold prepared images: Parquet shards that Hugging Face `datasets` opens with its Image feature."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from t2i.data.base import Sample

ROWS_PER_GROUP = 16
"""Images that are read from the disk together: small, because training visits them in random order."""
ROWS_PER_SHARD = 8192
TEXT = {"dtype": "string", "_type": "Value"}
FEATURES = {"image": {"_type": "Image"}, "id": TEXT, "captions": [TEXT], "domains": [TEXT], "categories": [TEXT]}
SCHEMA = pa.schema(
    {
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "id": pa.string(),
        "captions": pa.list_(pa.string()),
        "domains": pa.list_(pa.string()),
        "categories": pa.list_(pa.string()),
    },
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)


def shard_paths(folder: Path, split: str) -> list[Path]:
    """The shards of a split, in order."""
    return sorted(folder.glob(f"{split}-[0-9]*.parquet"))


class ShardWriter:
    """Writes one split; a context manager. An empty split is one shard without rows."""

    def __init__(self, folder: Path, split: str) -> None:
        self._folder, self._split = folder, split
        self._rows: list[dict[str, Any]] = []
        self._shards = 0
        self._in_shard = 0
        self._writer = self._open()

    def add(self, sample: Sample, png: bytes, file: str) -> None:
        """Appends a row; `file` is what the `path` of the image column says."""
        self._rows.append(
            {
                "image": {"bytes": png, "path": file},
                "id": sample.id,
                "captions": sample.captions,
                "domains": sample.domains,
                "categories": sample.categories,
            }
        )
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def _open(self) -> pq.ParquetWriter:
        path = self._folder / f"{self._split}-{self._shards:05d}.parquet"
        self._shards += 1
        # PNG is compressed already, and statistics of image bytes would only repeat them.
        return pq.ParquetWriter(path, SCHEMA, compression="NONE", use_dictionary=False, write_statistics=False)

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._in_shard >= ROWS_PER_SHARD:
            self._writer.close()
            self._writer, self._in_shard = self._open(), 0
        self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._in_shard += len(self._rows)
        self._rows = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def row_groups(paths: Sequence[Path]) -> list[tuple[pq.ParquetFile, int, int]]:
    """Every row group of the shards: the open file, its number within it, and how many rows it has."""
    groups = []
    for path in paths:
        file = pq.ParquetFile(path, memory_map=True)
        groups += [(file, number, file.metadata.row_group(number).num_rows) for number in range(file.num_row_groups)]
    return groups
