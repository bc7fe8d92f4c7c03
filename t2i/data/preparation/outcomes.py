"""What became of each entry, kept until all are known: what looks alike is judged last, and captions move then."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from t2i.data.base import SPLITS
from t2i.data.files.fence import written
from t2i.data.preparation.decode import Picture
from t2i.data.preparation.entries import Chosen
from t2i.data.preparation.manifest import Manifest
from t2i.data.preparation.repeats import Repeats, Verdict
from t2i.data.preparation.shards import ShardWriter, shard_paths
from t2i.data.spool import Spool

REVISED = "revised"


@dataclass(frozen=True)
class Outcome:
    """Kind and reason as of a `Verdict`, both empty for an image that is in the set."""

    kind: str = ""
    reason: str = ""
    twin: int = -1
    width: int = 0
    """Of the source as it is looked at, in pixels; 0 where it was not decoded."""
    height: int = 0
    flat: bool = False
    """Whether the prepared picture is of one colour."""

    @classmethod
    def of(cls, picture: Picture | None, verdict: Verdict | None) -> "Outcome":
        """Of an image that was prepared, or is a copy of an earlier file (None), with the verdict on it (None: it stays)."""
        why = (verdict.kind, verdict.reason, verdict.twin) if verdict else ("", "", -1)
        return cls(*why, picture.width, picture.height, not picture.phash) if picture else cls(*why)


class Outcomes:
    """Collects while preparation goes on; lies in a temporary file."""

    def __init__(self) -> None:
        self._all = Spool[Outcome](pack=lambda outcome: list(vars(outcome).values()), unpack=lambda v: Outcome(*v))
        self._revised: dict[int, Outcome] = {}
        self._more: dict[int, list[int]] = {}
        """By entry, others whose captions become its own."""

    def add(self, found: Chosen, place: int, outcome: Outcome) -> None:
        """The outcome of the next entry."""
        self._all.append(outcome)
        if outcome.kind == "duplicate" and found.first[place] == place:  # equal pixels in another file
            self._more.setdefault(outcome.twin, []).append(place)

    def set_aside_alike(self, repeats: Repeats, merge: bool) -> None:
        """All but the largest of images that look alike leave the set; merge: their captions stay."""
        sizes = {place: outcome.width * outcome.height for place, outcome in enumerate(self._all) if not outcome.kind}
        for place, verdict in repeats.alike(sizes).items():
            old = self._all[place]
            self._revised[place] = Outcome(verdict.kind, verdict.reason, verdict.twin, old.width, old.height, old.flat)
            if merge:
                self._more.setdefault(verdict.twin, []).extend([place, *self._more.get(place, [])])

    def revise(self, folder: Path, found: Chosen, aside: ShardWriter) -> None:
        """Writes the shards again where images leave them or captions are added; who leaves goes to `aside`."""
        for split in SPLITS:
            leaving = {written(found.entries[p].sample.id) for p in self._revised if found.entries[p].split == split}
            entries = [found.merged(p, more) for p, more in self._more.items() if p not in self._revised]
            changed = {written(entry.sample.id): entry for entry in entries if entry.split == split}
            if not leaving and not changed:
                continue
            revised = folder / REVISED
            revised.mkdir(exist_ok=True)
            with ShardWriter(revised, split) as writer:
                for row in _rows(shard_paths(folder, split)):
                    if row["id"] in leaving:
                        aside.append(row)
                        continue
                    if entry := changed.get(row["id"]):
                        row |= {"captions": entry.sample.captions, "domains": entry.sample.domains}
                    writer.append(row)
            for path in shard_paths(folder, split):
                path.unlink()
            for path in shard_paths(revised, split):
                path.replace(folder / path.name)
            revised.rmdir()

    def tell(self, found: Chosen, repeats: Repeats, manifest: Manifest, near: bool) -> None:
        """Everything in its order; near: list the pairs that look alike and stay."""
        for place, outcome in enumerate(self._all):
            outcome = self._revised.get(place, outcome)
            facts: Mapping[str, Any] = ({"width": outcome.width, "height": outcome.height} if outcome.width else {}) | (
                {"flat": True} if outcome.flat else {}
            )
            entry = found.merged(place, self._more.get(place, ()))
            if outcome.kind == "unusable":
                manifest.refuse(entry, outcome.reason)
            elif outcome.kind:
                manifest.set_aside(entry, outcome.kind, outcome.reason, facts)
            else:
                manifest.use(entry, facts, len(entry.sample.captions) - len(found.entries[place].sample.captions))
        for left, right, bits in repeats.pairs() if near else ():
            manifest.near(found.entries[left], found.entries[right], bits)


def _rows(paths: Iterable[Path]) -> Iterable[dict[str, Any]]:
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(16):
                yield from batch.to_pylist()
