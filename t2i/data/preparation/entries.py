"""The chosen images of a data set, screened by all that can be told without decoding one."""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from t2i.data.base import SPLITS, Dataset
from t2i.data.sample import Sample, packed, unpacked
from t2i.data.spool import Spool
from t2i.errors import UserError
from t2i.progress import progress
from t2i.store import Store

BLOCK = 1024
"""Files whose digests are looked up in one transaction."""


@dataclass(frozen=True)
class Entry:
    """A chosen sample with the captions that are used."""

    split: str
    sample: Sample
    file: str
    """Its path below the root; of an image inside of a container, where it lies there."""
    sha256: str
    """Of the file; empty when the file is not read."""
    reason: str
    """Why the image cannot be used; empty where nothing speaks against it so far."""
    dropped: tuple[tuple[str, str], ...]
    """Captions that are not used, each with the reason."""


@dataclass
class Chosen:
    """All entries, the held-out ones first: a training image that repeats one of them is recognised when it comes."""

    entries: Spool[Entry]
    digests: dict[str, str]
    """Of everything that preparation reads from the source, by split."""
    keys: np.ndarray
    """uint64 (N,): the first 64 bits of each file's digest; 0 where the file is not read."""
    first: np.ndarray
    """int32 (N,): the first entry whose file has the same bytes; the entry itself, mostly."""
    copies: dict[int, list[int]]
    """Entries of the same split whose files have the bytes of an earlier one, by that: their captions become its own."""

    def merged(self, place: int, more: Sequence[int] = ()) -> Entry:
        """The entry with the captions and domains of its copies, and of the entries `more`."""
        entry = self.entries[place]
        others = [self.entries[copy] for copy in self.copies.get(place, ())] + [self.merged(other) for other in more]
        if not others:
            return entry
        captions = dict.fromkeys(text for one in (entry, *others) for text in one.sample.captions)
        domains = {name for one in (entry, *others) for name in one.sample.domains}
        return replace(entry, sample=replace(entry.sample, captions=tuple(captions), domains=tuple(sorted(domains))))


def chosen(dataset: Dataset, store: Store) -> Chosen:
    """Screens the samples of both splits. Raises UserError when there is no training image."""
    root = dataset.location()
    entries = Spool[Entry](pack=_packed, unpack=_unpacked)
    digests = {}
    keys = array("Q")
    for split in reversed(SPLITS):
        digest = hashlib.sha256()
        for entry in _screened(dataset, root, split, store):
            # One line an entry, so that no list of all of them is needed.
            digest.update(json.dumps(_packed(replace(entry, sample=replace(entry.sample, path=Path())))).encode())
            digest.update(b"\n")
            entries.append(entry)
            keys.append(int(entry.sha256[:16] or "0", 16))
        digests[split] = digest.hexdigest()
        if split == "train" and (not len(entries) or entries[-1].split != "train"):
            raise UserError(f"dataset={dataset.name} has no training image in {root}: expected {dataset.layout()}.")
    prefixes = np.array(keys, np.uint64)
    first = _first(entries, prefixes)
    copies: dict[int, list[int]] = {}
    for place in np.flatnonzero(first != np.arange(len(entries))).tolist():
        if entries[place].split == entries[int(first[place])].split:
            copies.setdefault(int(first[place]), []).append(place)
    return Chosen(entries, digests, prefixes, first, copies)


def _screened(dataset: Dataset, root: Path, split: str, store: Store) -> Iterator[Entry]:
    fence = dataset.fence()
    samples = iter(progress(dataset.samples(split), f"looking at the {split} files of {dataset.name}", "file"))
    while block := list(islice(samples, BLOCK)):
        screened = []
        for sample in block:
            captions, dropped = _captions(sample.captions)
            reason = fence.refusal(sample.path) or ("" if captions else "no caption")
            screened.append((replace(sample, captions=captions), reason, dropped))
        digests = iter(_digests([sample.path for sample, reason, _ in screened if not reason], store))
        for sample, reason, dropped in screened:
            digest, trouble = ("", reason) if reason else next(digests)
            file = sample.path.relative_to(root) if sample.path.is_relative_to(root) else sample.path
            yield Entry(split, sample, sample.origin or file.as_posix(), digest, trouble, dropped)


def _digests(paths: list[Path], store: Store) -> list[tuple[str, str]]:
    """The digest of each file, or why it cannot be read."""
    try:
        return [(digest, "") for digest in store.file_digests(paths)]
    except OSError as error:  # a bad block of the disk, or a file that went away
        if len(paths) == 1:
            return [("", f"unreadable: {error.strerror}")]
        return [found for path in paths for found in _digests([path], store)]


def _captions(captions: Iterable[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The captions to use, and the others with the reason."""
    used: dict[str, None] = {}
    dropped = []
    for caption in captions:
        if caption and caption not in used:
            used[caption] = None
        else:
            dropped.append((caption, "duplicate caption" if caption else "empty caption"))
    return tuple(used), tuple(dropped)


def _first(entries: Spool[Entry], keys: np.ndarray) -> np.ndarray:
    first = np.arange(len(entries), dtype=np.int32)
    read = np.flatnonzero(keys)
    _, places, inverse = np.unique(keys[read], return_index=True, return_inverse=True)
    first[read] = read[places[inverse]]
    for place in np.flatnonzero(first != np.arange(len(entries))).tolist():
        if entries[place].sha256 != entries[int(first[place])].sha256:  # 64 bits agree, the others do not
            first[place] = place
    return first


def _packed(entry: Entry) -> list[Any]:
    return [entry.split, entry.file, entry.sha256, entry.reason, entry.dropped, *packed(entry.sample)]


def _unpacked(value: list[Any]) -> Entry:
    split, file, sha256, reason, dropped, *sample = value
    return Entry(split, unpacked(sample), file, sha256, reason, tuple((caption, why) for caption, why in dropped))
