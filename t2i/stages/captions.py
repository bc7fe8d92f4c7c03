"""The captions that pictures are drawn for, as values: some held-out ones, some that were trained on, or given texts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.stages.prepared import Prepared, training_split
from t2i.stages.stage import Stage
from t2i.training.fitting import regularisation_captions

if TYPE_CHECKING:
    from t2i.data.prepared import Prepared as Data
    from t2i.data.prepared import Split


class Captions(ABC):
    """One text a picture."""

    most: int
    """How many there are at most."""

    def needs(self) -> Sequence[Stage]:
        """Stages whose content says which they are."""
        return ()

    @abstractmethod
    def hangs_on(self) -> Any:
        """All of the configuration that they hang on, as JSON values, beside `needs`."""

    @abstractmethod
    def texts(self, run: Run) -> list[str]:
        """Known once `needs` are there."""


class Texts(Captions):
    """Given ones."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts, self.most = list(texts), len(texts)

    def hangs_on(self) -> Any:
        return self._texts

    def texts(self, run: Run) -> list[str]:
        return self._texts


@dataclass(frozen=True)
class HeldOut(Captions):
    """The first held-out ones: of every picture its first caption, then the second, and so on.

    `texts` raises ConfigError where there are fewer, unless `fewer` will do.
    """

    config: Config
    most: int
    repeated: int = 1
    """Pictures of each."""
    fewer: bool = False

    def needs(self) -> Sequence[Stage]:
        return (Prepared(self.config),)

    def hangs_on(self) -> Any:
        return ["held out", self.most, self.repeated, self.fewer]

    def texts(self, run: Run) -> list[str]:
        data, count = Prepared(self.config).read(run), self.most // self.repeated
        if self.fewer:
            count = min(count, sum(map(len, data.split("held_out").captions)))
        return [text for text in captions_of(data, count) for _ in range(self.repeated)]


@dataclass(frozen=True)
class TrainedOn(Captions):
    """The first captions of the first pictures that are trained on."""

    config: Config
    most: int

    def needs(self) -> Sequence[Stage]:
        return (Prepared(self.config),)

    def hangs_on(self) -> Any:
        return ["trained on", self.most, self.config.training.images]

    def texts(self, run: Run) -> list[str]:
        split = training_split(self.config, Prepared(self.config).read(run))
        return [group[0] for group in split.captions if group][: self.most]


@dataclass(frozen=True)
class OfClass(Captions):
    """The regularisation captions of the data in turn, one for each class picture of `training.prior=pictures`."""

    config: Config
    most: int

    def needs(self) -> Sequence[Stage]:
        return (Prepared(self.config),)  # its source says them

    def hangs_on(self) -> Any:
        return ["class", self.most]

    def texts(self, run: Run) -> list[str]:
        return list(islice(cycle(regularisation_captions(self.config.training, self.config.dataset)), self.most))


def captions_of(data: "Data", count: int) -> list[str]:
    """`count` held-out captions: the first of every picture, then the second, and so on."""
    split = data.split("held_out")
    rounds = max(map(len, split.captions), default=0)
    captions = [group[k] for k in range(rounds) for group in split.captions if k < len(group)]
    if len(captions) < count:
        fewer = (
            f"eval.images={len(captions)} or more data"
            if len(captions) > 1
            else "more data, or a larger dataset.held_out"
        )
        raise ConfigError(f"{count} held-out captions are needed and {len(captions)} are there; use {fewer}")
    return captions[:count]


def rows_of(split: "Split") -> list[int]:
    """The picture behind each caption, in the order of `captions_of`."""
    rounds = max(map(len, split.captions), default=0)
    return [i for k in range(rounds) for i in range(len(split)) if k < len(split.captions[i])]


def categories_of(data: "Data", count: int) -> list[list[str]]:
    """The categories of the pictures behind `captions_of`."""
    split = data.split("held_out")
    return [split.categories[row] for row in rows_of(split)[:count]]


def other_captions(split: "Split", count: int) -> list[list[str]]:
    """For each caption of `captions_of` the others of its picture."""
    rounds = max(map(len, split.captions), default=0)
    others = [group[:k] + group[k + 1 :] for k in range(rounds) for group in split.captions if k < len(group)]
    return others[:count]
