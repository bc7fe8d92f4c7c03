"""What lies in a store, which runs need it, and how the rest goes: what `task=store` shows and removes.

A run needs every stage that it asked for (`stages.txt`, `stages.json` in its folder), what these were made from, and what its
configuration names by path. Runs are the folders beside the store, and those that said in it where else they are.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from filelock import FileLock, Timeout

from t2i.asked import ASKED, ELSEWHERE
from t2i.store import read_manifest

RECORDS = (ASKED, "stages.json")
_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_NAME = re.compile(r"\.?([0-9a-f]{32})(?:\.(partial|damaged|removed))?")


@dataclass
class Upkeep:
    """What task=store does beside showing what lies where."""

    verify: bool = False
    """Read every byte of the store again and name what is not as it was written."""
    prune: bool = False
    """Remove what no run needs; asks first."""
    yes: bool = False
    """Remove without asking: for scripts."""


class State(Enum):
    """How far a folder of the store is."""

    finished = "finished"
    partial = "partial"
    """Left by a killed run, which goes on from it when its command is repeated; or being built now."""
    damaged = "damaged"
    """Put aside, or half removed."""


@dataclass(frozen=True)
class Held:
    """One folder of the store."""

    name: str
    digest: str
    path: Path
    state: State
    files: dict[tuple[int, int], tuple[int, int]]
    """Bytes and number of links of each file, by device and inode: sets of pictures share files."""


def held(root: Path) -> list[Held]:
    """Everything in a store, by name and digest."""
    found = []
    for kind in sorted(path for path in root.glob("[!.]*") if path.is_dir()):
        for path in sorted(kind.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match and path.is_dir() and not path.is_symlink():
                state = State.finished if path.name == match[1] else State.partial
                state = State.damaged if match[2] in ("damaged", "removed") else state
                found.append(Held(kind.name, match[1], path, state, _files(path)))
    return found


def _files(folder: Path) -> dict[tuple[int, int], tuple[int, int]]:
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(parent, name))
            found[status.st_dev, status.st_ino] = status.st_size, status.st_nlink
    return found


def size(entries: Iterable[Held]) -> int:
    """Bytes on disk: a file with several names counts once."""
    files = {inode: own for entry in entries for inode, own in entry.files.items()}
    return sum(own for own, _ in files.values())


def freed(entries: Iterable[Held]) -> int:
    """Bytes that the disk has again when all of these are removed: files that have no name elsewhere."""
    names: dict[tuple[int, int], int] = {}
    files: dict[tuple[int, int], tuple[int, int]] = {}
    for entry in entries:
        for inode, own in entry.files.items():
            names[inode] = names.get(inode, 0) + 1
            files[inode] = own
    return sum(own for inode, (own, links) in files.items() if names[inode] >= links)


def runs(root: Path) -> list[Path]:
    """The folders of runs that have used the store at `root`, those of a sweep's workers among them."""
    places = [path for pattern in ("*/*", "*/*/worker_*") for path in root.parent.glob(pattern)]
    listed = root / ELSEWHERE
    if listed.exists():
        places += [Path(line) for line in dict.fromkeys(listed.read_text(encoding="utf-8").splitlines()) if line]
    return [place for place in places if any((place / name).is_file() for name in RECORDS)]


def asked(run: Path) -> set[str]:
    """The digests of the stages that a run asked for, and of those that its configuration names by path.

    Whatever else a record holds: 32 hexadecimal digits that stand alone may be a stage, and then it stays.
    """
    found: set[str] = set()
    for name in (*RECORDS, "config.yaml", "evaluated.json"):
        path = run / name
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        found |= set(_DIGEST.findall(text))
    return found


def needed(entries: Iterable[Held], folders: Iterable[Path]) -> dict[Path, set[str]]:
    """Of each run the digests of what it needs: what it asked for, and what that was made from."""
    there = {entry.digest: entry.path for entry in entries if entry.state is State.finished}
    inputs: dict[str, set[str]] = {}

    def made_from(digest: str) -> set[str]:
        if digest not in inputs:
            manifest = (read_manifest(there[digest]) if digest in there else None) or {"inputs": {}}
            inputs[digest] = {other for value in manifest["inputs"].values() for other in _DIGEST.findall(str(value))}
        return inputs[digest]

    found = {}
    for run in folders:
        todo, own = asked(run), set[str]()
        while todo:
            own |= todo
            todo = {other for digest in todo for other in made_from(digest)} - own
        found[run] = own
    return found


def prune(root: Path, entries: Iterable[Held], seen: float) -> Iterator[tuple[Held, str]]:
    """Remove folders that no run needed at the time `seen`; gives each with the reason why it stays, empty when it went.

    What somebody builds now stays, and what a run has asked for since.
    """
    for entry in entries:
        lock = FileLock(entry.path.with_name(f".{entry.digest}.lock"))
        try:
            with lock.acquire(timeout=0):
                if any(entry.digest in asked(run) for run in _since(root, seen)):
                    yield entry, "a run needs it now"
                    continue
                gone = entry.path.with_name(f".{entry.digest}.removed")  # half removed, it must not look finished
                if entry.path != gone:
                    shutil.rmtree(gone, ignore_errors=True)
                    os.rename(entry.path, gone)
                shutil.rmtree(gone)
                yield entry, ""
        except Timeout:
            yield entry, "a run is at work on it"
        except OSError as error:
            yield entry, f"{error.strerror}: {error.filename}"


def _since(root: Path, seen: float) -> list[Path]:
    """Runs that have asked for a stage since then; a tick of the file system's clock more."""
    records = [(run, run / ASKED) for run in runs(root)]
    return [run for run, record in records if record.is_file() and record.stat().st_mtime >= seen - 3]
