"""Content-addressed stage outputs: no work is done twice, and a stage exists whole or not at all.

A stage lives in `<root>/<name>/<digest>/`, where the digest covers the digests of its inputs, the part of the
configuration it reads and its code version. It is built in a neighbouring `.partial` folder under a file lock,
fsynced, and renamed into place together with `manifest.json`.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

MANIFEST = "manifest.json"
PATIENCE = 1.0
"""Seconds in which a stage's lock is waited for without a word."""


@dataclass(frozen=True)
class Stage:
    """A finished stage: `path` is read-only by convention; `reused` is False when this call built it."""

    name: str
    digest: str
    path: Path
    reused: bool
    seconds: float = 0.0


def digest_of(value: Any) -> str:
    """The sha256 of `value` as canonical JSON (sorted keys; only JSON types)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all (temporary file, fsync, rename)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, sort_keys=False, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def sync_tree(folder: Path) -> None:
    """fsync every file and folder below `folder`, so that a rename after it cannot be ahead of the data."""
    # Side by side the file system commits many at once: 4,000 small files take 0.7 s in place of 14 s.
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(_sync, [*folder.rglob("*"), folder]):
            pass


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def addressed(
    name: str, inputs: Mapping[str, str], config: Mapping[str, Any], version: int
) -> tuple[dict[str, Any], str]:
    """What a stage is known by, and the digest of it that names its folder."""
    address = {"stage": name, "inputs": dict(inputs), "config": dict(config), "version": version}
    return address, digest_of(address)[:32]


class Store:
    """The stages below one folder. With several processes only the main one writes; `barrier` makes the others wait."""

    def __init__(
        self,
        root: Path,
        main: bool = True,
        barrier: Callable[[], None] = lambda: None,
        announce: Callable[[str], None] = lambda line: None,
        tell: Callable[[Callable[[], Any]], Any] = lambda find: find(),
    ) -> None:
        """tell: what a function finds in the main process, in every process."""
        self.root = root.absolute()
        self.main = main
        self.barrier = barrier
        self.announce = announce
        self.tell = tell
        self._seen: set[tuple[str, str]] = set()

    def path(self, name: str, inputs: Mapping[str, str], config: Mapping[str, Any], version: int) -> Path:
        """Where the stage with this address is, once it is finished."""
        return self.root / name / addressed(name, inputs, config, version)[1]

    def stage(
        self,
        name: str,
        inputs: Mapping[str, str],
        config: Mapping[str, Any],
        version: int,
        build: Callable[[Path], None],
        collective: bool = False,
        resumable: bool = False,
    ) -> Stage:
        """The stage with this address, built by `build(folder)` when it is not there yet.

        inputs: names to digests of what the stage reads. config: the slice of the configuration that it reads.
        collective: every process takes part in `build`. resumable: a partial folder left by a killed run is kept
        for `build` to continue from.
        """
        address, digest = addressed(name, inputs, config, version)
        final = self.root / name / digest
        partial = final.with_name(f".{digest}.partial")
        start = time.perf_counter()
        lock = FileLock(final.with_name(f".{digest}.lock"))
        if self.main:
            final.parent.mkdir(parents=True, exist_ok=True)
            self._acquire(lock, f"{name} {digest[:12]}")
        try:
            # The main process looks, holding the lock, and tells: another machine may see a shared folder later.
            reused = bool(self.tell(lambda: self._intact(final)))
            if not reused:
                if self.main:
                    shutil.rmtree(final, ignore_errors=True)  # a damaged stage
                    if not resumable:
                        shutil.rmtree(partial, ignore_errors=True)
                    partial.mkdir(exist_ok=True)
                self.barrier()
                if self.main or collective:
                    build(partial)
                self.barrier()
                if self.main:
                    self._commit(partial, final, address, time.perf_counter() - start)
                self.barrier()
        finally:
            if self.main:
                lock.release()
        seconds = time.perf_counter() - start
        if not reused or (name, digest) not in self._seen:  # once is enough for a stage that a run reads many times
            self.announce(f"{'reused' if reused else 'built '} {name:<15} {digest[:12]}  {seconds:6.1f} s")
        self._seen.add((name, digest))
        return Stage(name, digest, final, reused, seconds)

    def _acquire(self, lock: FileLock, what: str) -> None:
        """Wait for the lock of a stage, and say so if it is held: an equal command may take hours."""
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            self.announce(
                f"another command is making {what}, which this one needs too: waiting for it (its lock is {lock.lock_file})"
            )
            lock.acquire()

    def _intact(self, folder: Path) -> bool:
        """Whether every file that the manifest lists is there with its size (contents are checked by `verify`)."""
        try:
            files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
            return all((folder / name).stat().st_size == entry["bytes"] for name, entry in files.items())
        except (
            FileNotFoundError,
            NotADirectoryError,
            ValueError,
            KeyError,
        ):  # ValueError, KeyError: the manifest itself
            return False

    def verify(self, stage: Stage) -> list[str]:
        """The files of a stage that are gone, or whose bytes no longer match its manifest."""
        files = json.loads((stage.path / MANIFEST).read_text(encoding="utf-8"))["files"]
        paths = {name: stage.path / name for name in files}
        return [
            name for name, path in paths.items() if not path.is_file() or sha256_file(path) != files[name]["sha256"]
        ]

    def _commit(self, partial: Path, final: Path, address: Mapping[str, Any], seconds: float) -> None:
        paths = sorted(path for path in partial.rglob("*") if path.is_file())
        files = {
            str(path.relative_to(partial)): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
            for path in paths
        }
        write_json(partial / MANIFEST, {**address, "seconds": round(seconds, 3), "files": files})
        sync_tree(partial)
        os.rename(partial, final)
        sync_tree_entry(final.parent)

    def file_digest(self, path: Path) -> str:
        """The sha256 of a file outside the store, remembered under its path, size and times."""
        return self.file_digests([path])[0]

    def file_digests(self, paths: list[Path]) -> list[str]:
        """As `file_digest`, for many files in one transaction."""
        self.root.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.root / "file_digests.sqlite", timeout=60)) as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS files "
                "(path TEXT PRIMARY KEY, bytes INTEGER, mtime INTEGER, ctime INTEGER, sha256 TEXT)"
            )
            find = "SELECT sha256 FROM files WHERE path = ? AND bytes = ? AND mtime = ? AND ctime = ?"
            digests, new = [], []
            for path in paths:
                status = path.stat()
                # A copy may restore the modification time; nothing restores the time of change.
                key = (str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                row = database.execute(find, key).fetchone()
                digests.append(row[0] if row else sha256_file(path))
                if not row:
                    new.append((*key, digests[-1]))
            with database:  # only now: nobody waits for a lock while files are read
                database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", new)
        return digests


def sync_tree_entry(folder: Path) -> None:
    """fsync a folder itself, so that a rename inside it survives a power cut."""
    _sync(folder)
