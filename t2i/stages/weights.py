"""Which weights draw, as a value: those of the base model, what `weights=` names, or what a stage tunes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from t2i.config import Config, as_dict
from t2i.context import Run
from t2i.stages.stage import Stage
from t2i.stages.tuned import Tuned, find_tuned


class Weights(ABC):
    """What is put on the base model before it draws."""

    def needs(self) -> Sequence[Stage]:
        """Stages that hold them."""
        return ()

    @abstractmethod
    def hangs_on(self) -> Any:
        """All of the configuration that they hang on, as JSON values, beside `needs`."""

    @abstractmethod
    def find(self, run: Run) -> Optional[Tuned]:
        """Known once `needs` are there; None: the base model as it is."""


class Base(Weights):
    """Nothing."""

    def hangs_on(self) -> Any:
        return None

    def find(self, run: Run) -> Optional[Tuned]:
        return None


@dataclass(frozen=True)
class Known(Weights):
    """What was found already."""

    tuned: Tuned

    def hangs_on(self) -> Any:
        return self.tuned.digest

    def find(self, run: Run) -> Optional[Tuned]:
        return self.tuned


@dataclass(frozen=True)
class Given(Weights):
    """What `weights=` names; nothing where it is null."""

    config: Config

    def hangs_on(self) -> Any:
        names = self.config.weights_given
        # what it may not be put on, or be judged by, is refused as it is found
        return (
            [names, list(self.config.weights_scale), as_dict(self.config.model), self.config.eval.clip]
            if names
            else None
        )

    def find(self, run: Run) -> Optional[Tuned]:
        return find_tuned(self.config, run)
