"""`train_scores`: CLIP scores of pictures that both models draw for training captions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i import identity
from t2i.context import Run
from t2i.stages.captions import TrainedOn
from t2i.stages.generated import Generated
from t2i.stages.networks import extractors_of
from t2i.stages.pictures import read_pictures
from t2i.stages.prepared import Prepared
from t2i.stages.stage import Address, Stage, is_there, made
from t2i.stages.weights import Weights
from t2i.store import write_json

PICTURES = 40
"""Of training captions at most; drawn besides those that are measured."""


@dataclass(frozen=True, eq=False)
class TrainScores(Stage):
    """`scores.json`: of `base` and `tuned` the score of each picture."""

    weights: Weights
    """The tuned ones."""

    name = "train_scores"
    resources = ("eval", "numbers")

    @property
    def captions(self) -> TrainedOn:
        """What is drawn."""
        return TrainedOn(self.config, min(PICTURES, self.config.eval.images))

    @property
    def sets(self) -> dict[str, Generated]:
        """The pictures of both models."""
        tuned = Generated(self.config, self.captions, self.weights)
        return {"base": Generated(self.config, self.captions), "tuned": tuned}

    def inputs(self) -> dict[str, Stage]:
        return {**self.sets}

    def hangs_on(self) -> Any:
        return identity.evaluators(self.config)

    def wanted(self, run: Run) -> bool:
        few = is_there(Prepared(self.config), run) and len(self.captions.texts(run)) < 2
        return "clip_score" in self.config.eval.metrics and not few

    def needs(self) -> Sequence[Stage]:
        return self.captions.needs()

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import registry as extractors

        own = self.config.eval
        return Address({"extractor": extractors.digests(own)}, {"clip": own.clip, **identity.resized(self.config)})

    def build(self, run: Run, folder: Path) -> None:
        from t2i.evaluation.extractors import registry as extractors
        from t2i.evaluation.metrics.clip_score import clip_scores

        _, clip = extractors_of(self.config, run)
        size, captions = self.config.eval.batch_size, self.captions.texts(run)
        texts = extractors.text_features(clip, captions, size)
        found = {}
        for name, stage in self.sets.items():
            pictures = read_pictures(made(stage, run).path, len(captions))
            found[name] = clip_scores(extractors.image_features(clip, "generated", pictures, size), texts).tolist()
        write_json(folder / "scores.json", found)

    def read(self, run: Run) -> dict[str, list[float]]:
        """The scores."""
        found: dict[str, list[float]] = json.loads((made(self, run).path / "scores.json").read_text(encoding="utf-8"))
        return found
