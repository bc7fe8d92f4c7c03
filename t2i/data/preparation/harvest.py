"""Pictures that earlier stages or a killed run have prepared already, found by the content of their source file."""

import io
import shutil
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from t2i.data.preparation.decode import Picture
from t2i.store import MANIFEST, Store, damage, read_manifest

STAGES = 8
"""Earlier stages that are looked into, the newest first."""
GROUPS = 8
"""Row groups that are kept in memory: each split of each earlier stage is read about in order."""
LEFTOVERS = "leftovers"
FIELDS = ["image.bytes", "sha256", "width", "height", "size", "content", "phash"]


def earlier(store: Store, name: str, config: Mapping[str, Any], version: int) -> list[Path]:
    """Folders of the newest finished stages called `name` with this version, whose configuration holds `config`."""
    found = []
    manifests = (store.root / name).glob(f"[!.]*/{MANIFEST}")
    for path in sorted(manifests, key=lambda path: path.stat().st_mtime, reverse=True):
        address = read_manifest(path.parent)
        if address is not None and address["version"] == version and config.items() <= address["config"].items():
            found.append(path.parent)
        if len(found) == STAGES:
            break
    return found


def leftovers(folder: Path) -> Path:
    """Moves the finished shards of a killed run into a folder of their own, and removes what else it left."""
    kept = folder / LEFTOVERS
    kept.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir()):
        if path.suffix == ".parquet":
            path.replace(kept / path.name)
        elif path != kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return kept


class Harvest:
    """The pictures in the shards of some folders. Memory: 16 bytes a picture, and a few row groups."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._files: list[tuple[Path, int]] = []
        """With the rows that all but the last of its row groups have."""
        keys, places = [np.empty(0, np.uint64)], [np.empty((0, 2), np.int32)]
        for path in (path for folder in folders for path in _shards(folder)):
            try:
                with pq.ParquetFile(path) as opened:
                    column = opened.read(["sha256"])["sha256"].to_pylist()
                    per_group = opened.metadata.row_group(0).num_rows if column else 0
            except (OSError, pa.ArrowInvalid):  # damaged since: its pictures are decoded again
                continue
            keys.append(_keys(column))
            places.append(
                np.stack([np.full(len(column), len(self._files)), np.arange(len(column))], 1).astype(np.int32)
            )
            self._files.append((path, per_group))
        order = np.argsort(joined := np.concatenate(keys), kind="stable")
        self._keys, self._places = joined[order], np.concatenate(places)[order]
        self._groups: OrderedDict[tuple[int, int], list[dict[str, Any]]] = OrderedDict()

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Whether pictures of source files whose digests begin with these 64 bits are there: uint64 (N,), bool (N,)."""
        return np.isin(keys, self._keys)

    def picture(self, sha256: str) -> Picture | None:
        """The picture of a source file with that digest; None when none is there, or only a damaged one."""
        key = _keys([sha256])[0]
        start, end = np.searchsorted(self._keys, key, "left"), np.searchsorted(self._keys, key, "right")
        for file, row in self._places[start:end].tolist():
            found = self._row(file, row)
            if found and found["sha256"] == sha256 and _intact(found["image"]["bytes"]):
                size = (found["size"][0], found["size"][1])
                png = found["image"]["bytes"]
                return Picture(png, size, found["width"], found["height"], found["content"], found["phash"])
        return None

    def _row(self, file: int, row: int) -> dict[str, Any] | None:
        path, per_group = self._files[file]
        group = (file, row // per_group)
        if group not in self._groups:
            try:
                with pq.ParquetFile(path) as opened:
                    self._groups[group] = opened.read_row_group(group[1], columns=FIELDS).to_pylist()
            except (OSError, pa.ArrowInvalid):
                return None
            if len(self._groups) > GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        return self._groups[group][row % per_group]


def _shards(folder: Path) -> list[Path]:
    """The shards of a stage that are as they were written; what a killed run left has its checksums in the pictures."""
    wrong = damage(folder) or []
    return [path for path in sorted(folder.glob("*.parquet")) if path.name not in wrong]


def _keys(digests: list[str]) -> np.ndarray:
    """The first 64 bits of each digest; the row says whether the others agree."""
    return np.frombuffer(bytes.fromhex("".join(digest[:16] for digest in digests)), ">u8").astype(np.uint64)


def _intact(png: bytes) -> bool:
    """Whether the checksums inside a PNG agree with its bytes."""
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            image.verify()
    except (OSError, SyntaxError):  # Pillow calls a broken checksum a syntax error
        return False
    return True
