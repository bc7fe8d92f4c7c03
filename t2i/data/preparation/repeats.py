"""Which images repeat others: by bytes, by pixels, and across the splits by look.

Entries come in order, the held-out ones first. The first of equal images stays and the others are set aside; a
training image that is equal to a held-out one, or near it, is a leak and is set aside too. Images of one split that
are near each other stay and are listed, or all but the largest are set aside.
"""

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from t2i.data.preparation.decode import Picture
from t2i.data.preparation.duplicates import BITS, Bands, near_pairs
from t2i.data.preparation.entries import Entry

REPEATS = re.compile(r"(?:near )?duplicate of (held-out )?(.*?)(?: \((\d+) of \d+ bits differ\))?", re.DOTALL)
"""How the reasons below are worded."""


def kind(reason: str) -> str:
    """A reason without what is particular to one file: `too small: 8 x 9` is `too small`."""
    repeated = REPEATS.fullmatch(reason)
    if repeated is None:
        return reason.partition(":")[0]
    what = "held-out picture" if repeated[1] else "picture"
    return f"{'near duplicate' if repeated[3] else 'duplicate'} of a {what}"


@dataclass(frozen=True)
class Verdict:
    """Why an image is not in the set."""

    kind: str
    """unusable, duplicate, leak or look_alike."""
    reason: str
    twin: int
    """The entry that it repeats; -1 for none."""


class Repeats:
    """Judges one entry after another. Memory: about 150 bytes an image. threshold: see `Dataset.near_bits`."""

    def __init__(self, entries: Sequence[Entry], threshold: int | None) -> None:
        self._entries, self._threshold = entries, threshold
        self._contents: dict[int, int] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._hashes = bytearray()
        self._hashed = array("i")
        self._held_out: Bands | None = None

    def refused(self, place: int, reason: str) -> str:
        """Remembers that the entry cannot be used, for copies of it; the reason."""
        self._verdicts[place] = Verdict("unusable", reason, -1)
        return reason

    def copy(self, first: int, entry: Entry) -> Verdict:
        """The verdict on an entry whose file has the bytes of the entry `first`."""
        verdict = self._verdicts.get(first)
        if verdict is None:
            return self._equal(first, entry)
        if verdict.kind == "unusable" or self._entries[first].split == entry.split:
            return verdict
        return self._equal(verdict.twin, entry)

    def judge(self, place: int, entry: Entry, picture: Picture) -> Verdict | None:
        """The verdict on an entry of its own bytes; None: it is in the set."""
        key = int(picture.content[:16], 16)
        if key in self._contents:
            verdict: Verdict | None = self._equal(self._contents[key], entry)
        else:
            verdict = self._leak(picture) if entry.split == "train" else None
        if verdict:
            self._verdicts[place] = verdict
            return verdict
        self._contents[key] = place
        if picture.phash:
            self._hashes += bytes.fromhex(picture.phash)
            self._hashed.append(place)
        return None

    def _equal(self, twin: int, entry: Entry) -> Verdict:
        other = self._entries[twin]
        if other.split == entry.split:
            return Verdict("duplicate", f"duplicate of {other.sample.id}", twin)
        return Verdict("leak", f"duplicate of held-out {other.sample.id}", twin)

    def _leak(self, picture: Picture) -> Verdict | None:
        if self._threshold is None:
            return None
        if self._held_out is None:  # the first training image: all that is hashed so far is held out
            self._held_out = Bands(self._array(), self._threshold)
        near = self._held_out.nearest(picture.phash)
        if near is None:
            return None
        twin = self._hashed[near[0]]
        reason = f"near duplicate of held-out {self._entries[twin].sample.id} ({near[1]} of {BITS} bits differ)"
        return Verdict("leak", reason, twin)

    def pairs(self) -> list[tuple[int, int, int]]:
        """Entries of the set that look like an earlier one: (earlier, later, bits that differ)."""
        if self._threshold is None:
            return []
        pairs = near_pairs(self._array(), self._threshold)
        return [(self._hashed[left], self._hashed[right], bits) for left, right, bits in pairs]

    def alike(self, sizes: Mapping[int, int]) -> dict[int, Verdict]:
        """The verdicts on all but one of each group of entries that look alike; sizes: the pixels of their sources.

        The one with the most pixels stays, the first of equals.
        """
        group: dict[int, int] = {}

        def root(place: int) -> int:
            while group.setdefault(place, place) != place:
                place = group[place]
            return place

        for left, right, _ in self.pairs():
            group[root(right)] = root(left)
        kept: dict[int, int] = {}
        for place in sorted(group):
            best = kept.setdefault(root(place), place)
            if sizes[place] > sizes[best]:
                kept[root(place)] = place
        hashes, at = self._array(), {place: number for number, place in enumerate(self._hashed)}
        found = {}
        for place in sorted(group):
            twin = kept[root(place)]
            if place != twin:
                bits = int(np.bitwise_count(hashes[at[place]] ^ hashes[at[twin]]).sum())
                reason = f"near duplicate of {self._entries[twin].sample.id} ({bits} of {BITS} bits differ)"
                found[place] = Verdict("look_alike", reason, twin)
        return found

    def _array(self) -> np.ndarray:
        return np.frombuffer(bytes(self._hashes), np.uint8).reshape(-1, BITS // 8)
