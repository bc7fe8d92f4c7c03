"""Archives of unknown origin, read with limits: how much they hold, and where their members may lie."""

import gzip
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

from t2i.errors import UserError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 2_000_000
MAX_MEMBER_BYTES = 4 * 2**30
"""The largest file of a data set that is used: COCO's instances have 0.45 GB."""
MAX_RATIO = 200
"""Unpacked bytes per packed byte above which an archive is taken for a bomb; JSON shrinks to about a tenth."""
ALLOWANCE = 16 * 2**20
"""Unpacked bytes that any archive may have: a small one may be full of zeros."""
FAILURES = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
"""What the libraries raise for damaged, encrypted or unknown archives."""


def is_archive(path: Path) -> bool:
    """Whether the name is one of an archive that `members` reads."""
    return path.name.endswith(SUFFIXES)


class Content:
    """The bytes of a member; raises UserError where they are damaged."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        try:
            return self._file.read(size)
        except FAILURES as error:
            raise _damaged(self._path, error) from error


def members(path: Path) -> Iterator[tuple[str, int, Content]]:
    """Name, size in bytes and content of every regular file, in the archive's order; each is read before the next.

    Links and devices are passed over. Raises UserError for a damaged archive, one that holds too much, or one that
    names a file outside of the folder into which it is unpacked.
    """
    try:
        for name, size, file in _zip_members(path) if path.suffix == ".zip" else _tar_members(path):
            yield name, size, Content(path, file)
    except FAILURES as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read ({type(error).__name__}: {str(error)[:200]}): download or write it again.")


def unpack(path: Path, folder: Path, wanted: Callable[[str], bool]) -> int:
    """Writes the wanted members below `folder`, which holds nothing but earlier members; returns how many."""
    count = 0
    for name, _, content in members(path):
        if wanted(name):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(content, file, 2**20)
            count += 1
    return count


def _zip_members(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check(path, len(entries), sum(entry.file_size for entry in entries))  # a member cannot hold more than it says
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.is_dir() or kind not in (0, stat.S_IFREG):
                continue
            with archive.open(entry) as content:
                yield _checked(path, entry.filename, entry.file_size), entry.file_size, content


def _tar_members(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        bounded = _Bounded(path, gzip.GzipFile(fileobj=raw) if packed else raw)
        with closing(tarfile.open(fileobj=bounded, mode="r|")) as archive:  # type: ignore[call-overload]
            for count, entry in enumerate(archive, 1):
                _check(path, count, 0)
                archive.members = []  # a stream needs no list of what went by
                content = archive.extractfile(entry) if entry.isfile() and not entry.issparse() else None
                if content is not None:
                    yield _checked(path, entry.name, entry.size), entry.size, content


class _Bounded:
    """A file of which not more is read than an archive of that size may hold."""

    def __init__(self, path: Path, file: IO[bytes] | gzip.GzipFile) -> None:
        self._path, self._file, self._read = path, file, 0

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self._read += len(block)
        _check(self._path, 0, self._read)
        return block


def _check(path: Path, count: int, total: int) -> None:
    if count > MAX_MEMBERS:
        raise UserError(f"{path} has more than {MAX_MEMBERS:,} members: split it, or unpack it by hand.")
    most = MAX_RATIO * path.stat().st_size + ALLOWANCE
    if total > most:
        raise UserError(
            f"{path} unpacks to {total:,} bytes or more, {MAX_RATIO} times its size: no data set does; "
            "download it again, or unpack it by hand."
        )


def _checked(path: Path, name: str, size: int) -> str:
    """The name without `./`, for a file that lies inside and is not too large."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts or re.search(r"[\x00\\]|^[A-Za-z]:", name):
        raise UserError(f"{path} names {name!r}, which lies outside of the folder it unpacks into: do not use it.")
    if size > MAX_MEMBER_BYTES:
        raise UserError(f"{path} holds {name} of {size:,} bytes, more than {MAX_MEMBER_BYTES:,}: unpack it by hand.")
    return "/".join(parts)
