"""Parquet files of images and texts, as the Hugging Face hub serves them, read a few rows at a time."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i.data.files.fence import Fence
from t2i.errors import UserError

ROWS = 16
"""Rows that are in memory together."""
MAX_GROUP_BYTES = 8 * 2**30
"""Row groups are decoded column by column; one that claims more than this is not read."""
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
    "held_out": "held_out",
}
"""Words in names of files and folders, and the split that they say; as `datasets` has them, and prepare's own."""


@dataclass(frozen=True)
class Row:
    """`number`: of the row within its split. `values`: by column, encoded images as bytes."""

    path: str
    split: str
    number: int
    values: dict[str, Any]
    origin: str
    """File and row in it, from 1, for messages."""


def container_files(root: Path, suffixes: Sequence[str], fence: Fence) -> dict[str, Path]:
    """The files below `root` with one of the suffixes, by relative name, in order; raises UserError for a link out.

    Hidden ones are passed over, and of Arrow's files those that `map` of `datasets` caches.
    """
    files = {
        path.relative_to(root).as_posix(): path
        for path in sorted(root.rglob("*"))
        if path.name.endswith(tuple(suffixes)) and not _hidden(path.relative_to(root))
    }
    for name, path in files.items():
        if reason := fence.refusal(path):
            raise UserError(f"{name} in {root} is {reason}: copy the file itself there, or remove it.")
    return files


def _hidden(path: Path) -> bool:
    own = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return own or (path.suffix == ".arrow" and path.name.startswith(("cache-", "tmp")))


def parquet_files(root: Path, fence: Fence) -> dict[str, Path]:
    """The Parquet files below `root`, by relative name, without tables of metadata."""
    files = container_files(root, [".parquet"], fence)
    return {name: path for name, path in files.items() if path.name != "metadata.parquet"}


def split_of(name: str) -> str:
    """The split that a file's name says, else that of the nearest folder that says one; empty where none does."""
    for part in reversed(name.lower().split("/")):
        words = ["held_out"] if "held_out" in part else re.split(r"[^a-z]+", part)
        for word in words:
            if word in SPLITS:
                return SPLITS[word]
    return ""


def read_rows(files: Mapping[str, Path]) -> Iterator[Row]:
    """The rows of Parquet files, and of Arrow's as `save_to_disk` of `datasets` writes them, in their order.

    Raises UserError for a file that is neither.
    """
    import pyarrow as pa

    numbers: Counter[str] = Counter()
    for name, path in files.items():
        split, place = split_of(name), 0
        try:
            for values in _arrow(path) if path.suffix == ".arrow" else _parquet(path):
                place += 1
                plain = {key: encoded(value) for key, value in values.items()}
                yield Row(name, split, numbers[split], plain, f"{name}, row {place}")
                numbers[split] += 1
        except (pa.ArrowException, OSError) as error:
            form = "Arrow" if path.suffix == ".arrow" else "Parquet"
            raise UserError(
                f"{path} cannot be read as {form} ({str(error).splitlines()[0][:160]}): download it again."
            ) from error


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        groups = (file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups))
        if max(groups, default=0) > MAX_GROUP_BYTES:
            raise UserError(f"{path} has row groups of more than {MAX_GROUP_BYTES:,} bytes: write smaller ones.")
        for batch in file.iter_batches(ROWS):
            yield from batch.to_pylist()


def _arrow(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            for start in range(0, batch.num_rows, ROWS):
                yield from batch.slice(start, ROWS).to_pylist()


def encoded(value: Any) -> Any:
    """The bytes of an image as `datasets` stores it (bytes and path); any other value as it is."""
    return value["bytes"] if isinstance(value, dict) and set(value) == {"bytes", "path"} else value
