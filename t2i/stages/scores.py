"""`scores`: the CLIP score of each picture of a generated set, for comparison charts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i import identity
from t2i.context import Run
from t2i.stages.generated import Generated
from t2i.stages.networks import extractor_of
from t2i.stages.pictures import read_pictures
from t2i.stages.stage import Address, Stage, made
from t2i.store import write_json

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Scores(Stage):
    """`scores.json`, in the order of the captions; by the CLIP of the run's own configuration, not that of the set."""

    pictures: Generated

    name = "scores"
    resources = ("eval",)

    def inputs(self) -> dict[str, Stage]:
        return {"pictures": self.pictures}

    def hangs_on(self) -> Any:
        return identity.evaluators(self.config)

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import registry as extractors

        own = self.config.eval
        slice_ = {"clip": own.clip, "resize": own.resize, **identity.inexact(self.config)}
        return Address({"extractor": extractors.identity(own)[1]}, slice_)

    def build(self, run: Run, folder: Path) -> None:
        from t2i.evaluation.extractors import registry as extractors
        from t2i.evaluation.metrics.clip_score import clip_scores

        clip, size, texts = (
            extractor_of(self.config, run),
            self.config.eval.batch_size,
            self.pictures.captions.texts(run),
        )
        pictures = read_pictures(made(self.pictures, run).path, len(texts))
        images = extractors.image_features(clip, "generated", pictures, size)
        found = clip_scores(images, extractors.text_features(clip, texts, size))
        write_json(folder / "scores.json", found.tolist())

    def read(self, run: Run) -> "np.ndarray":
        """float64 (N,)."""
        import numpy as np

        return np.array(json.loads((made(self, run).path / "scores.json").read_text(encoding="utf-8")))
