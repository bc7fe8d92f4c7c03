"""A sequence that lies in a temporary file: a hundred thousand records cost eight bytes of memory each."""

import json
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class Spool(Sequence[T], Generic[T]):
    """Records as JSON lines in a file without a name, which is gone with the object.

    `pack` turns a record into JSON types, `unpack` does the reverse.
    """

    def __init__(
        self, records: Iterable[T] = (), *, pack: Callable[[T], Any], unpack: Callable[[Any], T] | None = None
    ) -> None:
        self._pack, self._unpack = pack, unpack or (lambda value: value)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed with the object
        self._ends = array("q", [0])
        self._written = True
        for record in records:
            self.append(record)

    def append(self, record: T) -> None:
        """Adds a record at the end."""
        # ASCII with escapes: file names need not be Unicode, and come back as they were.
        line = json.dumps(self._pack(record), separators=(",", ":")).encode("ascii")
        self._file.write(line)
        self._ends.append(self._ends[-1] + len(line))
        self._written = False

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        index %= len(self)
        if not self._written:
            self._file.flush()
            self._written = True
        start, end = self._ends[index], self._ends[index + 1]
        return self._unpack(json.loads(os.pread(self._file.fileno(), end - start, start)))

    def __iter__(self) -> Iterator[T]:
        for place in range(len(self)):
            yield self[place]

    def taken(self, places: Iterable[int]) -> "Spool[T]":
        """The records at `places`, in that order."""
        return Spool((self[place] for place in places), pack=self._pack, unpack=self._unpack)
