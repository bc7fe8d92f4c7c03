"""Sources whose images lie inside of containers: what is chosen of them is written out as files, and nothing else."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.data.base import SPLITS
from t2i.data.sample import Sample, packed, spooled, unpacked
from t2i.data.sources.extract import Record, extract, extracted, listed_only
from t2i.data.splits import NamedSplit
from t2i.data.spool import Spool
from t2i.progress import progress
from t2i.store import digest_of, sha256_file

if TYPE_CHECKING:
    from t2i.store import Store

VERSION = 1
"""Of the choice: raise it when the same configuration chooses others."""
LATER = frozenset(
    """resolution crop background near_duplicates near_bits quarantine root links obtain kaggle name revision""".split()
)
"""Keys that have no part in which images are chosen, or are told by the containers' digests."""
CHOSEN = "chosen.jsonl"


@dataclass
class Contained(NamedSplit):
    """Subclasses turn what is inside into records, and records into samples (`meant`)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._listed: Optional[Spool[list[Any]]] = None
        self._chosen: Optional[Path] = None

    def write_out(
        self,
        store: "Store",
        inputs: Mapping[str, str],
        config: Mapping[str, Any],
        records: Callable[[], Iterable[Record]],
    ) -> None:
        """Writes the images out: all of them, or, where the configuration limits which, those that it chooses."""
        self._chosen = None
        if not self._limited():
            self._place = extract(store, inputs, config, records)
            return
        choice: dict[str, Any] = {
            key: value.value if isinstance(value, Enum) else value
            for key, value in asdict(self).items()
            if key not in LATER
        }
        if self.subset is not None:
            choice["subset"] = sha256_file(Path(self.subset).expanduser())
        stage = store.stage(
            "chosen", inputs, {**config, "choice": choice}, VERSION, lambda folder: self._choose(folder, records)
        )
        self._chosen = stage.path / CHOSEN
        names = self._names()  # other captions for the same images need no other files
        self._place = extract(store, inputs, {**config, "chosen": digest_of(sorted(names))}, records, names)

    def meant(self, sample: Sample) -> Sample:
        """The sample with the captions and categories that its class gives it."""
        return sample

    def everything(self) -> Iterator[tuple[str, Sample]]:
        for split, sample in extracted(self.location()) if self._listed is None else _unpacked(self._listed):
            yield split, self.meant(sample)

    def samples(self, split: str) -> Spool[Sample]:
        """Those that were chosen before anything was written out, or as of any source."""
        if self._chosen is None:
            return super().samples(split)
        written = {sample.id: sample.path for _, sample in extracted(self.location())}
        rows = list(_lines(self._chosen, split))
        left = list(_lines(self._chosen, f"left out of {split}"))
        self._remarks.left_out[split] = Spool(left, pack=list)
        if split == "train":
            self._remarks.left_out["neither"] = Spool(_lines(self._chosen, "left out of neither"), pack=list)
        return spooled(replace(sample, path=written[sample.id]) for sample in map(unpacked, rows))

    def _limited(self) -> bool:
        limits = (self.limit, self.held_out, self.subset)
        return any(limit is not None for limit in limits) or self.fraction < 1 or bool(self.domains)

    def _names(self) -> set[str]:
        assert self._chosen is not None
        return {row[0] for split in SPLITS for row in _lines(self._chosen, split)}

    def _choose(self, folder: Path, records: Callable[[], Iterable[Record]]) -> None:
        """Reads everything once, without writing an image, and lists what `samples` would give."""
        before, self._place = self._place, folder  # where no file is: names are told without it
        self._listed = listed_only(progress(records(), "looking for the images to take", "image"))
        try:
            with (folder / CHOSEN).open("w", encoding="ascii") as file:
                for split in SPLITS:
                    for sample in super().samples(split):
                        file.write(json.dumps([split, *packed(sample)], separators=(",", ":")) + "\n")
                for name, rows in self._remarks.left_out.items():
                    for row in rows:
                        file.write(json.dumps([f"left out of {name}", *row], separators=(",", ":")) + "\n")
        finally:
            self._listed, self._place = None, before

    def _contents(self, samples: list[Sample]) -> dict[str, str]:
        """Listed only, a sample's path is the digest of its image; empty where it has none."""
        if self._listed is None:
            return super()._contents(samples)
        return {sample.id: sample.path.name for sample in samples if sample.path.name}


def _unpacked(rows: Iterable[list[Any]]) -> Iterator[tuple[str, Sample]]:
    return ((row[0], unpacked(row[1:])) for row in rows)


def _lines(path: Path, name: str) -> Iterator[list[Any]]:
    """The rows of one kind."""
    with path.open(encoding="ascii") as file:
        for line in file:
            kind, *row = json.loads(line)
            if kind == name:
                yield row
