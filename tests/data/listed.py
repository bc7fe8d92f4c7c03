"""A data set that a test lists itself: what is in which split, under which domain, with which captions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from t2i.data.base import Dataset
from t2i.data.preparation.prepare import prepare
from t2i.data.sample import Sample
from t2i.store import Stage, Store

from .conftest import picture


@dataclass
class Listed(Dataset):
    """Samples as they are given; their files are below `root`."""

    kind: str = "listed"
    name: str = "listed"

    def hold(self, samples: Mapping[str, Sequence[Sample]]) -> "Listed":
        self._samples = samples
        return self

    def listing(self, split: str) -> Iterable[Sample]:
        return self._samples.get(split, [])

    def layout(self) -> str:
        return "what the test wrote"


Row = tuple[str, Sequence[str], Sequence[str]]
"""Id, domains, captions."""


def prepared(folder: Path, train: Sequence[Row], held_out: Sequence[Row] = (), resolution: int = 64) -> Stage:
    """A prepared set of small pictures of noise, which is 40 or 41 pixels wide; its store is in the same folder."""
    root = folder / "data"
    root.mkdir()
    samples: dict[str, list[Sample]] = {}
    for split, rows in (("train", train), ("held_out", held_out)):
        samples[split] = []
        for number, (key, domains, captions) in enumerate(rows):
            path = root / f"{split}-{key}.png"
            picture(number + (1000 if split == "train" else 0), (40 + number % 2, 32)).save(path)
            samples[split].append(Sample(key, path, tuple(captions), tuple(sorted(domains)), ()))
    data = Listed(root=str(root), resolution=resolution).hold(samples)
    return prepare(data, Store(folder / "store"), progress=False)
