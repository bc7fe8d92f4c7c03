"""What bytes and values are known by, and a memory of it: a file is read again only when its size, inode or times changed."""

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

SETTLED = 2.0
"""Seconds after which a file's times tell a later change: file systems count time in steps of up to two seconds, and what
changes within one of them cannot be told from what was read."""
MEMORY = "file_digests.sqlite"
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
Answer = TypeVar("Answer")


def digest_of(value: Any) -> str:
    """The sha256 of `value` as canonical JSON (sorted keys; only JSON types)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path) -> tuple[int, int, int, int]:
    """Size in bytes, inode, and the times of the last change of content and of anything, in nanoseconds."""
    status = path.stat()
    # A copy may restore the time of its content's change; nothing restores the time of the file's.
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def name_of(path: Path) -> str:
    """A path as text that a database takes, whatever bytes the file system has in it."""
    return os.fspath(path.absolute()).encode("utf-8", "backslashreplace").decode()


def settled(stamps: Iterable[tuple[int, int, int, int]]) -> bool:
    """Whether a change from now on would show in these stamps."""
    newest = max((changed for *_, changed in stamps), default=0)
    return time.time() - newest / 1e9 > SETTLED


class Memory:
    """A database of what was read, by path and stamp. It saves time and decides nothing: a row whose seal does not fit is
    unknown, and a database that cannot be read is begun anew.
    """

    def __init__(self, folder: Path, announce: Callable[[str], None] = lambda line: None) -> None:
        self.path = folder / MEMORY
        self._announce = announce

    def known(self, questions: Sequence[tuple[str, str]]) -> list[str | None]:
        """For each (name, stamp) what was remembered; None where nothing was."""

        def ask(database: sqlite3.Connection) -> list[str | None]:
            found: list[str | None] = []
            for name, stamp in questions:
                row = database.execute("SELECT answer, seal FROM known WHERE name = ?", (name,)).fetchone()
                fits = row is not None and row[1] == _seal(name, stamp, row[0])
                found.append(row[0] if fits else None)
            return found

        return self._with(ask) or [None] * len(questions)

    def remember(self, rows: Sequence[tuple[str, str, str]]) -> None:
        """Keep (name, stamp, answer) in place of what was known by the name."""

        def keep(database: sqlite3.Connection) -> None:
            sealed = [(name, answer, _seal(name, stamp, answer)) for name, stamp, answer in rows]
            with database:
                database.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", sealed)

        if rows:
            self._with(keep)

    def _with(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer | None:
        """What `work` gives; None when the database is busy for a minute, damaged, or cannot be written."""
        try:
            with _opened(self.path) as database:
                return work(database)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) in _BUSY:
                return None
            with contextlib.suppress(OSError):  # a folder that cannot be written has no memory
                self.path.unlink()
                self._announce(f"{self.path} was damaged ({error}) and is begun anew: files are read again")
            return None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.suppress(OSError):  # then SQLite says so
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as database:
        database.execute("CREATE TABLE IF NOT EXISTS known (name TEXT PRIMARY KEY, answer TEXT, seal TEXT)")
        yield database


def _seal(*parts: object) -> str:
    """Which a row has that nobody damaged, and that is of this stamp."""
    text = "\x1f".join(map(str, parts)).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def file_digests(memory: Memory, paths: Sequence[Path]) -> list[str]:
    """The sha256 of each file, read unless the memory has it. Raises OSError for a file that cannot be read."""
    stamps = [stamp(path) for path in paths]
    questions = [(name_of(path), str(own)) for path, own in zip(paths, stamps, strict=True)]
    known = memory.known(questions)  # nobody waits for a lock while files are read
    digests = [found or sha256_file(path) for found, path in zip(known, paths, strict=True)]
    new = [
        (*question, digest)
        for question, own, digest, found in zip(questions, stamps, digests, known, strict=True)
        if found is None and settled([own])
    ]
    memory.remember(new)
    return digests
