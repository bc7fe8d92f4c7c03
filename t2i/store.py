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
from typing import Any, Optional

from filelock import FileLock, Timeout

from t2i import digests
from t2i.digests import digest_of, sha256_file
from t2i.errors import UserError
from t2i.progress import progress

__all__ = [
    "MANIFEST",
    "Stage",
    "Store",
    "addressed",
    "damage",
    "digest_of",
    "read_manifest",
    "sha256_file",
    "write_json",
]

MANIFEST = "manifest.json"
SEAL = "seal"
"""In a manifest: the digest of all else that it says."""
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


def addressed(
    name: str, inputs: Mapping[str, str], config: Mapping[str, Any], version: int
) -> tuple[dict[str, Any], str]:
    """What a stage is known by, and the digest of it that names its folder."""
    # As it will be read again: a manifest whose address gives another digest was damaged.
    address = json.loads(
        json.dumps({"stage": name, "inputs": dict(inputs), "config": dict(config), "version": version})
    )
    return address, digest_of(address)[:32]


def read_manifest(folder: Path) -> Optional[dict[str, Any]]:
    """What a finished stage says of itself; None where there is none that can be read, or one of another folder."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        address = {key: found[key] for key in ("stage", "inputs", "config", "version")}
        seal = found.pop(SEAL, None)  # stages of before it have none
        sound = isinstance(found["files"], dict) and digest_of(address)[:32] == folder.name
        sound = sound and seal in (None, digest_of(found))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if sound else None


def damage(folder: Path, memory: Optional[digests.Memory] = None) -> Optional[list[str]]:
    """The files of a finished stage whose bytes are not those that its manifest names; None where no manifest can be read.

    Every file is read once; then it is remembered, and read again when the stamp of one of them has changed.
    """
    found = read_manifest(folder)
    if found is None:
        return None
    files: dict[str, Any] = found["files"]
    memory = memory or digests.Memory(folder.parent.parent)
    try:
        stamps = {name: digests.stamp(folder / name) for name in (MANIFEST, *files)}
    except (OSError, ValueError):  # one is gone, or its name in the manifest is none
        stamps = {}
    name, fingerprint = f"stage {digests.name_of(folder)}", digest_of([*stamps.items()])
    if stamps and (name, fingerprint) in _SOUND:
        return []
    if not stamps or memory.known([(name, fingerprint)]) == [None]:
        wrong = unlike(folder)
        if wrong != []:
            return wrong
        if not digests.settled(stamps.values()):
            return []
        memory.remember([(name, fingerprint, "sound")])
    _SOUND.add((name, fingerprint))
    return []


def unlike(folder: Path) -> Optional[list[str]]:
    """As `damage`, and whatever is remembered, every byte is read."""
    found = read_manifest(folder)
    if found is None:
        return None
    files: dict[str, Any] = found["files"]
    label = f"checking {folder.parent.name} {folder.name[:12]}"
    return [file for file in progress(list(files), label, "file") if not _as_written(folder / file, files[file])]


_SOUND: set[tuple[str, str]] = set()
"""Stages that this process has checked, each with the stamps of its files."""


def _as_written(path: Path, entry: Any) -> bool:
    try:
        return bool(path.stat().st_size == entry["bytes"] and sha256_file(path) == entry["sha256"])
    except (OSError, ValueError, KeyError, TypeError):  # not there, or an entry of a manifest that was damaged itself
        return False


def require_sound(folder: Path) -> None:
    """UserError when a finished stage that cannot be made again here, being read on its own, is gone or damaged."""
    wrong = damage(folder)
    if wrong != []:
        raise UserError(f"{folder} is damaged ({told(wrong)}): remove this folder and repeat the run that made it")


def told(wrong: Optional[list[str]]) -> str:
    """What `damage` found, in words."""
    if wrong is None:
        return f"{MANIFEST} is missing or cannot be read"
    more = f" and {len(wrong) - 1} more files" if len(wrong) > 1 else ""
    return f"{wrong[0]}{more} not as written"


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
        self.tell = tell
        self.asked = asked
        self._seen: set[tuple[str, str]] = set()

    def elsewhere(self, root: Path) -> "Store":
        """A store in another folder, for the same processes."""
        return Store(root, self.main, self.barrier, self.announce, self.tell)

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
            self.announce(f"{'reused' if reused else 'built '} {name:<15} {digest[:12]}  {seconds:6.1f} s")
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
