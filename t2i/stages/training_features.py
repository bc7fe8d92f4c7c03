"""`training_features`: features of the pictures that are trained on, for memorisation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i import identity
from t2i.context import Run
from t2i.stages.networks import extractors_of
from t2i.stages.pictures import pictures_of
from t2i.stages.prepared import Prepared, training_split
from t2i.stages.reference import ENDING, networks
from t2i.stages.stage import Address, Stage, made

if TYPE_CHECKING:
    from t2i.data.prepared import Split
    from t2i.evaluation.feature_file import Known

FILE = "training.npz"


@dataclass(frozen=True, eq=False)
class TrainingFeatures(Stage):
    """`training.npz`: `<name>.features` float32 (N, D) by `eval.extractor`."""

    name = "training_features"
    version = 1
    collective = True
    resources = ("eval", "numbers")

    def needs(self) -> list[Stage]:
        return [Prepared(self.config)]

    def inputs(self) -> dict[str, Stage]:
        return {"data": Prepared(self.config)}

    def hangs_on(self) -> Any:
        return [identity.evaluators(self.config), self.config.training.images]

    def split(self, run: Run) -> "Split":
        """The pictures."""
        return training_split(self.config, Prepared(self.config).read(run))

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import registry as extractors

        own = {"resolution": self.config.dataset.resolution, "pictures": len(self.split(run))}
        return Address({"extractor": extractors.digests(self.config.eval)}, {**networks(self.config), **own})

    def build(self, run: Run, folder: Path) -> None:
        import numpy as np

        from t2i.evaluation.extractors import registry as extractors

        network = extractors_of(self.config, run)[0]
        pictures = pictures_of(self.split(run), self.config.dataset.resolution)
        found = extractors.shared_image_features(network, "training", pictures, self.config.eval.batch_size)
        if run.main:
            np.savez(folder / FILE, **{f"{network.name}{ENDING}": found})  # type: ignore[arg-type]

    def known(self, run: Run) -> "Known":
        """The features."""
        from t2i.evaluation.feature_file import Known

        return Known.read(made(self, run).path / FILE)
