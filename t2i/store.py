"""Content-addressed stage outputs: no work is done twice, and a stage exists whole or not at all.

A stage lives in `<root>/<name>/<digest>/`, where the digest covers the digests of its inputs, the part of the
configuration it reads and its code version. It is built in a neighbouring `.partial` folder under a file lock,
fsynced, and renamed into place together with `manifest.json`.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from t2i import digests
from t2i.digests import digest_of, sha256_file
from t2i.manifest import MANIFEST, SEAL, addressed, damage, read_manifest, require_sound, told

__all__ = [
    "MANIFEST",
    "Stage",
    "Store",
    "addressed",
    "damage",
    "digest_of",
    "read_manifest",
    "require_sound",
    "sha256_file",
    "write_json",
]

DAMAGED = ".damaged"
"""Ending of the folder in which a damaged stage waits until it has been made again."""
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


class Store:
    """The stages below one folder. With several processes only the main one writes and decides; the others are told."""

    def __init__(
        self,
        root: Path,
        main: bool = True,
        barrier: Callable[[], None] = lambda: None,
        announce: Callable[[str], None] = lambda line: None,
        tell: Callable[[Callable[[], Any]], Any] = lambda find: find(),
        asked: Callable[[str, str], None] = lambda name, digest: None,
    ) -> None:
        """barrier: waits for the other processes. announce: says a line. tell: what a function finds in the main process, in
        every process. asked: hears of every stage, name and digest, before it is built or read.
        """
        self.root = root.absolute()
        self.main = main
        self.barrier = barrier
        self.announce = announce
        self.note: Callable[[str], None] | None = None
        """Says which stages are built and reused, in place of `announce`."""
        self.tell = tell
        self.asked = asked
        self._seen: set[tuple[str, str]] = set()

    def elsewhere(self, root: Path) -> "Store":
        """A store in another folder, for the same processes."""
        other = Store(root, self.main, self.barrier, self.announce, self.tell)
        other.note = self.note
        return other

    @property
    def memory(self) -> digests.Memory:
        """Of digests that need not be computed again."""
        return digests.Memory(self.root, self.announce)

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
        """The stage with this address, built by `build(folder)` when it is not there yet, or no longer as it was written.

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
            self.asked(name, digest)
            final.parent.mkdir(parents=True, exist_ok=True)
            self._acquire(lock, f"{name} {digest[:12]}")
        try:
            # The main process looks, holding the lock, and tells: another machine may see a shared folder later.
            reused = bool(self.tell(lambda: self._usable(final)))
            if not reused:
                if self.main:
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
            (self.note or self.announce)(
                f"{'reused' if reused else 'built '} {name:<15} {digest[:12]}  {seconds:6.1f} s"
            )
        self._seen.add((name, digest))
        return Stage(name, digest, final, reused, seconds)

    def sound(self, folder: Path) -> bool:
        """Whether a finished stage is there, every byte as it was written."""
        return damage(folder, self.memory) == []

    def _acquire(self, lock: FileLock, what: str) -> None:
        """Wait for the lock of a stage, and say so if it is held: an equal command may take hours."""
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            self.announce(
                f"another command is making {what}, which this one needs too: waiting for it (its lock is {lock.lock_file})"
            )
            lock.acquire()

    def _usable(self, final: Path) -> bool:
        """Whether a stage can be reused; a damaged one is put aside, until it has been made again."""
        if not final.exists():
            return False
        wrong = damage(final, self.memory)
        if wrong == []:
            return True
        self.announce(f"{final} is damaged ({told(wrong)}) and is made again")
        aside = _aside(final)
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(final, aside)
        return False

    def _commit(self, partial: Path, final: Path, address: Mapping[str, Any], seconds: float) -> None:
        paths = sorted(path for path in partial.rglob("*") if path.is_file())
        files = {
            str(path.relative_to(partial)): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
            for path in paths
        }
        content = {**address, "seconds": round(seconds, 3), "files": files}
        write_json(partial / MANIFEST, {**content, SEAL: digest_of(content)})
        sync_tree(partial)
        os.rename(partial, final)
        sync_tree_entry(final.parent)
        shutil.rmtree(_aside(final), ignore_errors=True)

    def file_digest(self, path: Path) -> str:
        """The sha256 of a file outside the store, remembered under its path, size, inode and times."""
        return self.file_digests([path])[0]

    def file_digests(self, paths: list[Path]) -> list[str]:
        """As `file_digest`, for many files in one transaction."""
        return digests.file_digests(self.memory, paths)


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}{DAMAGED}")


def sync_tree_entry(folder: Path) -> None:
    """fsync a folder itself, so that a rename inside it survives a power cut."""
    _sync(folder)
