"""`nearest`: the nearest training picture of each generated one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i import identity
from t2i.context import Run
from t2i.stages.metrics import Metrics
from t2i.stages.networks import extractors_of
from t2i.stages.pictures import generated_pictures, pictures_of
from t2i.stages.prepared import Prepared
from t2i.stages.stage import Address, Stage, made
from t2i.stages.training_features import TrainingFeatures
from t2i.store import write_json

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.pictures import Pictures


@dataclass(frozen=True, eq=False)
class Nearest(Stage):
    """`nearest.json`: `nearest`, row of the training picture and cosine distance for each picture of the tuned model; `means`
    of the distances of `tuned`, `base` and `real` pictures, with bounds.
    """

    base: Metrics
    tuned: Metrics
    """The measured models, before and after."""

    name = "nearest"
    version = 2
    collective = True
    resources = ("eval", "numbers")

    @property
    def trained(self) -> TrainingFeatures:
        """What is near."""
        return TrainingFeatures(self.config)

    def needs(self) -> list[Stage]:
        return [Prepared(self.config), self.trained]

    def inputs(self) -> dict[str, Stage]:
        sets: dict[str, Stage] = {"tuned": self.tuned.pictures, "base": self.base.pictures}
        return {**sets, "data": Prepared(self.config)}

    def hangs_on(self) -> Any:
        return [identity.evaluators(self.config), self.config.eval.images]

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import registry as extractors

        own = self.config.eval
        digests = {"trained": str(len(self.trained.split(run))), "extractor": extractors.digests(own)}
        return Address(digests, {"extractor": own.extractor, "resize": own.resize_policy, "images": own.images})

    def build(self, run: Run, folder: Path) -> None:
        import numpy as np

        from t2i.evaluation.extractors.registry import shared_image_features
        from t2i.evaluation.metrics.memorisation import nearest_training
        from t2i.evaluation.statistics import intervals

        config, count = self.config, self.config.eval.images
        network = extractors_of(config, run)[0]
        known = self.trained.known(run).features[network.name]

        def features(name: str, images: "Pictures") -> "np.ndarray":
            return shared_image_features(network, name, images, config.eval.batch_size)

        held_out = Prepared(config).read(run).split("held_out")
        real = pictures_of(held_out.part(np.arange(min(len(held_out), count))), config.dataset.resolution)
        sets = {
            name: features("generated", generated_pictures(made(own.pictures, run).path, count))
            for name, own in (("tuned", self.tuned), ("base", self.base))
        }
        sets["real"] = features("held-out", real)
        if not run.main:
            return
        found = {name: nearest_training(rows, known) for name, rows in sets.items()}
        means = {name: intervals.mean(distances, 0.0, 1.0) for name, (_, distances) in found.items()}
        write_json(
            folder / "nearest.json",
            {
                "nearest": [[int(row), float(distance)] for row, distance in zip(*found["tuned"], strict=True)],
                "means": {name: [mean.value, mean.low, mean.high] for name, mean in means.items()},
            },
        )

    def read(self, run: Run) -> tuple[list[tuple[int, float]], dict[str, list[float]]]:
        """`nearest` and `means`."""
        found = json.loads((made(self, run).path / "nearest.json").read_text(encoding="utf-8"))
        return [(int(row), float(distance)) for row, distance in found["nearest"]], found["means"]
