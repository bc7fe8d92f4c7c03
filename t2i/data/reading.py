"""Parts of a prepared set, read as a stream: texts without pictures, a few pictures without the texts of the others."""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from t2i.data.preparation.shards import row_groups, shard_paths

BATCH = 1024


def texts(folder: Path, split: str, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """The rows of a prepared split, `BATCH` at a time; a column that the set lacks is None in every row."""
    for path in shard_paths(folder, split):
        with pq.ParquetFile(path) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(BATCH, columns=there):
                yield [dict.fromkeys(columns) | row for row in batch.to_pylist()]


def pictures(folder: Path, split: str, rows: Collection[int]) -> dict[int, bytes]:
    """The encoded pictures of some rows of a prepared split."""
    found: dict[int, bytes] = {}
    wanted, start = set(rows), 0
    for file, group, count in row_groups(shard_paths(folder, split)):
        here = wanted.intersection(range(start, start + count))
        if here:
            column = file.read_row_group(group, columns=["image.bytes"])["image"]
            found |= {row: column[row - start].as_py()["bytes"] for row in here}
        start += count
    return found


def pictures_named(folder: Path, split: str, ids: Collection[str]) -> dict[str, bytes]:
    """The encoded pictures with some ids; those that the split does not have are left out."""
    wanted = set(ids)
    names = (row["id"] for rows in texts(folder, split, ["id"]) for row in rows) if wanted else ()
    places = {number: name for number, name in enumerate(names) if name in wanted}
    return {places[row]: encoded for row, encoded in pictures(folder, split, places).items()}


def audit_head(folder: Path) -> dict[str, Any]:
    """What audit.json says before it lists the images: the first of its lines, which is short for any set."""
    with open(folder / "audit.json", encoding="utf-8") as file:
        head: dict[str, Any] = json.loads(file.readline().rstrip().removesuffix(",") + "}")
    return head
