"""Which images are held out: those that the source says, otherwise a function of the seed and of their content."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.data.base import Dataset, draw, listed
from t2i.data.sample import Sample, spooled
from t2i.data.spool import Spool
from t2i.errors import ConfigError
from t2i.progress import progress
from t2i.store import sha256_file

if TYPE_CHECKING:
    import numpy as np

    from t2i.store import Store

CHUNK = 1024
"""Files whose digests are asked for together."""
FEW = 100
"""Contents below which the share is a count: each drawn for itself, 0.4 of five pictures would be one in a third of folders."""


@dataclass
class ContentSplit(Dataset):
    """A source without splits of its own."""

    held_out_share: float = 0.1
    """Share of the images, by content and seed, that is held out where the source has no splits of its own; at least one. Of
    fewer than 100 it is a count, rounded; of more each is drawn for itself, so that further ones move none."""

    def validate(self) -> None:
        super().validate()
        if not 0 < self.held_out_share < 1:
            raise ConfigError(
                f"dataset.held_out_share={self.held_out_share} is not between 0 and 1: type dataset.held_out_share=0.1."
            )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._digests: Callable[[list[Path]], list[str]] = _digests

    def acquire(self, store: "Store") -> None:
        """Also lets the store remember what each file's digest is, so that the split is quick to tell again."""
        super().acquire(store)
        self._digests = store.file_digests

    def everything(self) -> Iterable[tuple[str, Sample]]:
        """Every sample with the name of the source's own split, empty where it has none, in a fixed order."""
        raise NotImplementedError

    def listing(self, split: str) -> Iterator[Sample]:
        return self._drawn(spooled(sample for _, sample in self.everything()), split)

    def _drawn(self, samples: Spool[Sample], split: str) -> Iterator[Sample]:
        """The samples of a split by content: equal images are never on both sides, and held out is at least one."""
        import numpy as np

        draws = np.fromiter(self._draws(samples), np.float64, len(samples))
        return compress(samples, self._held_out(samples, draws) == (split == "held_out"))

    def _held_out(self, samples: Spool[Sample], draws: "np.ndarray") -> "np.ndarray":
        """Which samples are held out, bool (n,), by the number from 0 to 1 that each one's content has drawn."""
        return draws < self._below(draws)

    def _below(self, draws: "np.ndarray") -> float:
        import numpy as np

        share, distinct = self.held_out_share, np.unique(draws)
        if len(distinct) < 2:
            return share
        if len(distinct) < FEW:
            return float(distinct[min(max(1, int(share * len(distinct) + 0.5)), len(distinct) - 1)])
        return max(share, float(np.nextafter(distinct[0], 1)))

    def _draws(self, samples: Spool[Sample]) -> Iterator[float]:
        source = iter(progress(samples, f"reading the files of {self.name}", "file"))
        while chunk := list(islice(source, CHUNK)):
            contents = self._contents(chunk)
            # A file that cannot be read is split by its name; preparation sets it aside.
            yield from (draw(self.seed, "held_out", contents.get(sample.id, sample.id)) for sample in chunk)

    def _contents(self, samples: list[Sample]) -> dict[str, str]:
        """The digest of each file that can be read, by the sample's id."""
        fence = self.fence()
        present = [sample for sample in samples if not fence.refusal(sample.path)]
        digests = self._digests([sample.path for sample in present])
        return {sample.id: digest for sample, digest in zip(present, digests, strict=True)}


@dataclass
class NamedSplit(ContentSplit):
    """A source that may have splits of its own; what no name asks for is neither trained on nor held out."""

    train_split: str = "train"
    """The source's split to train on; several are joined as in train+restval."""
    held_out_split: str = "test"
    """The source's split that is held out; several are joined as in val+test."""

    def listing(self, split: str) -> Iterator[Sample]:
        names: list[str] = []

        def unnamed() -> Iterator[Sample]:
            for name, sample in self.everything():
                names.append(sys.intern(name))
                yield sample

        samples = spooled(unnamed())
        there = sorted(set(names))
        if len(there) < 2:  # no splits, or all the data in one
            return self._drawn(samples, split)
        wanted = set(self._wanted(split, there))
        if split == "train":
            self._note_unused(samples, names, wanted | set(self._wanted("held_out", there)))
        return compress(samples, (name in wanted for name in names))

    def _note_unused(self, samples: Spool[Sample], names: list[str], used: set[str]) -> None:
        """Lists what lies in a split that neither side uses."""
        unused = ((sample, name) for sample, name in zip(samples, names, strict=True) if name not in used)
        rows = ([self._file(sample), f"in the split {name}" if name else "in no split"] for sample, name in unused)
        self._remarks.left_out["neither"] = Spool(rows, pack=list)

    def _wanted(self, split: str, there: list[str]) -> list[str]:
        value = getattr(self, f"{split}_split")
        wanted: list[str] = value.split("+")
        for name in wanted:
            if name not in there:
                raise ConfigError(
                    f"dataset.{split}_split={value} names {name!r}, which {self.name} does not have: "
                    f"type some of {listed(name for name in there if name)}, joined by +."
                )
        return wanted

    def validate(self) -> None:
        super().validate()
        shared = set(self.train_split.split("+")) & set(self.held_out_split.split("+"))
        if shared:
            raise ConfigError(
                f"dataset.held_out_split={self.held_out_split} holds out {min(shared)!r}, which "
                f"dataset.train_split={self.train_split} trains on: type another split for one of them."
            )


def _digests(paths: list[Path]) -> list[str]:
    return [sha256_file(path) for path in paths]
