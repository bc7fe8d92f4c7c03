"""Arrays of equal shape under content keys, in memory-mapped shards: what was encoded once is never encoded again.

A stage of rows holds `rows-00000.npy` (and further shards of up to `SHARD_BYTES`) and `keys.npy`. A build takes over
every row whose key an earlier stage of the same kind has, and continues after the last shard that a killed build left.
"""

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from tqdm import tqdm

from t2i.errors import UserError
from t2i.store import MANIFEST, Stage, Store, read_manifest

SHARD_BYTES = 256 * 2**20
KEYS = "keys.npy"
SOURCES = 8
"""Earlier stages that a build looks into, newest first."""


class Rows:
    """The rows of a finished stage; `shape` is (N, *row)."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("rows-*.npy"))
        self._paths, self._shards = paths, [np.load(path, mmap_mode="r") for path in paths]
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        self.shape = (int(self._starts[-1]), *self._shards[0].shape[1:])
        self.dtype = self._shards[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def shard(self, start: int, count: int) -> Optional[Path]:
        """The file that holds `count` rows from `start` on and no others; None where there is none."""
        number = int(np.searchsorted(self._starts, start))
        fits = number < len(self._shards) and self._starts[number] == start and len(self._shards[number]) == count
        return self._paths[number] if fits else None

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """A copy of the rows at `indices`, (n, *row)."""
        wanted = np.asarray(indices, np.int64)
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        shards = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(shards):
            here = shards == number
            found[here] = self._shards[number][wanted[here] - self._starts[number]]
        return found


def key_of(content: bytes) -> bytes:
    """32 hexadecimal digits of the content's sha256."""
    return hashlib.sha256(content).hexdigest()[:32].encode()


def keyed_rows(
    store: Store,
    name: str,
    inputs: Mapping[str, str],
    config: Mapping[str, Any],
    version: int,
    keys: Callable[[], Sequence[bytes]],
    encode: Callable[[Sequence[int]], np.ndarray],
    batch: int,
    label: str,
) -> tuple[Stage, Rows]:
    """The stage and its rows: row i belongs to keys()[i] and is what `encode([i])` gives.

    inputs: digests; the one named "data" says which rows, the others what they are encoded with. `keys` and `encode`
    are called only to build; rows are encoded `batch` at a time (the last may repeat), so that their bits do not depend
    on how many others are. Raises UserError when the disk has no room.
    """

    def build(folder: Path) -> None:
        names = np.array(keys(), dtype="S32")
        first = encode([0])
        row, kind = first.shape[1:], first.dtype
        size = len(names) * math.prod(row) * kind.itemsize
        done = sum(path.stat().st_size for path in folder.glob("rows-*.npy"))
        _announce(store, folder, f"{label}: {len(names):,} x {'x'.join(map(str, row))} {kind.name}", size, done)
        earlier = _earlier(store, name, inputs, config, version)
        per_shard = max(batch, SHARD_BYTES // (math.prod(row) * kind.itemsize))
        with tqdm(total=len(names), desc=label, unit="row", leave=False) as bar:
            for number, start in enumerate(range(0, len(names), per_shard)):
                part = range(start, min(start + per_shard, len(names)))
                path = folder / f"rows-{number:05d}.npy"
                if not path.exists():
                    _write_shard(path, part, names, (len(part), *row), kind, earlier, encode, batch, bar.update)
                bar.update(part.stop - bar.n)
        np.save(folder / KEYS, names)

    stage = store.stage(name, inputs, config, version, build, resumable=True)
    return stage, Rows(stage.path)


def _write_shard(
    path: Path,
    part: range,
    names: np.ndarray,
    shape: tuple[int, ...],
    kind: np.dtype,
    earlier: dict[bytes, tuple[Rows, int]],
    encode: Callable[[Sequence[int]], np.ndarray],
    batch: int,
    progress: Callable[[int], object],
) -> None:
    if _linked(part, names, earlier, path):
        progress(len(part))
        return
    temporary = path.with_suffix(".partial")
    with open(temporary, "wb") as file:  # open_memmap would add .npy to the name
        np.lib.format.write_array_header_1_0(file, {"descr": kind.str, "fortran_order": False, "shape": shape})
        offset = file.tell()
        file.truncate(offset + math.prod(shape) * kind.itemsize)
    rows = np.memmap(temporary, kind, "r+", offset, shape)
    todo = []
    for i in part:
        known = earlier.get(bytes(names[i]))
        if known is None:
            todo.append(i)
        else:
            rows[i - part.start] = known[0][[known[1]]][0]
    progress(len(part) - len(todo))
    for start in range(0, len(todo), batch):
        chosen = todo[start : start + batch]
        encoded = encode(chosen + [chosen[-1]] * (batch - len(chosen)))
        rows[[i - part.start for i in chosen]] = encoded[: len(chosen)]
        progress(len(chosen))
    rows.flush()
    del rows
    os.rename(temporary, path)


def _linked(part: range, names: np.ndarray, earlier: dict[bytes, tuple[Rows, int]], path: Path) -> bool:
    """Makes a shard of exactly these rows another name of the finished one that there is: an edited caption changes no
    picture, and would leave all latents on the disk once more.
    """
    rows, start = earlier.get(bytes(names[part.start]), (None, 0))
    shard = rows.shard(start, len(part)) if rows is not None else None
    if shard is None or any(earlier.get(bytes(names[i])) != (rows, start + i - part.start) for i in part):
        return False
    try:
        os.link(shard, path)
    except OSError:  # a file system without links
        return False
    return True


def _earlier(
    store: Store, name: str, inputs: Mapping[str, str], config: Mapping[str, Any], version: int
) -> dict[bytes, tuple[Rows, int]]:
    """Every key that a finished stage of the same kind has, and where its row is."""
    found: dict[bytes, tuple[Rows, int]] = {}
    wanted = {key: digest for key, digest in inputs.items() if key != "data"}
    manifests = sorted(
        (store.root / name).glob(f"[!.]*/{MANIFEST}"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for path in manifests[:SOURCES]:
        address = read_manifest(path.parent)
        if address is None:
            continue
        same = {key: digest for key, digest in address["inputs"].items() if key != "data"} == wanted
        if same and address["config"] == dict(config) and address["version"] == version and store.sound(path.parent):
            rows = Rows(path.parent)
            for i, key in enumerate(np.load(path.parent / KEYS).tolist()):
                found.setdefault(key, (rows, i))
    return found


def _announce(store: Store, folder: Path, what: str, size: int, done: int) -> None:
    """Say what will be written before it is; UserError when the disk has no room for it."""
    free = shutil.disk_usage(folder).free
    (store.note or store.announce)(f"{what}, {_bytes(size)}")
    if size - done > free:
        raise UserError(
            f"{what} take {_bytes(size)} and {folder} has {_bytes(free)} free: free some, name another folder with "
            "outputs=<folder>, or encode anew in every step with training.cache_latents=false training.cache_text=false"
        )


def _bytes(number: int) -> str:
    size, unit = float(number), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.1f} {unit}" if unit != "B" else f"{number} B"
