"""`prepared`: the checked and resized pictures of a dataset, with their captions and an audit."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t2i.config import Config, as_dict
from t2i.context import Run
from t2i.data.preparation.prepare import prepare
from t2i.stages.stage import Stage, made
from t2i.store import Stage as Finished

if TYPE_CHECKING:
    from t2i.data.prepared import Prepared as Data
    from t2i.data.prepared import Split


@dataclass(frozen=True, eq=False)
class Prepared(Stage):
    """What its source keeps for itself (a drawn world, an index, extracted files) is looked for on the way."""

    name = "prepared"
    resources = ("data",)

    def hangs_on(self) -> Any:
        return as_dict(self.config.dataset)

    def at(self, run: Run) -> Finished:
        self.config.dataset.validate()
        return run.use(prepare(self.config.dataset, run.store, progress=run.main))

    def read(self, run: Run) -> "Data":
        """The prepared data: texts in memory, pixels decoded on demand."""
        from t2i.data.prepared import Prepared as Data

        stage = made(self, run)
        return run.kept("prepared", [str(run.store.root), stage.digest], lambda: Data(stage.path))


def data_of(config: Config, run: Run) -> "Data":
    """The prepared data of the configured dataset."""
    return Prepared(config).read(run)


def training_split(config: Config, data: "Data") -> "Split":
    """The prepared training pictures that are trained on: all, or `training.images` of them, as often as their source asks.

    Which ones follows from data and number alone, as stages that read them are addressed by these.
    """
    import numpy as np

    from t2i.data.base import draw as lot

    split, count = data.split("train"), config.training.images
    if count is None or count >= len(split):
        return split.repeated()
    draws = [lot("trained", name) for name in split.ids]
    return split.part(np.sort(np.argsort(draws, kind="stable")[:count])).repeated()
