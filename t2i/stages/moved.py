"""`moved`: how far pictures are from those that the first model drew for the same captions with the same seeds."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i import identity
from t2i.context import Run
from t2i.stages.given import Judged
from t2i.stages.metrics import Measured
from t2i.stages.networks import extractors_of
from t2i.stages.pictures import generated_pictures
from t2i.stages.stage import Address, Stage, made
from t2i.store import digest_of, write_json

if TYPE_CHECKING:
    from t2i.data.pictures import Pictures

FILE = "moved.json"


@dataclass(frozen=True, eq=False)
class Moved(Stage):
    """`moved.json`: the mean of 1 - cosine between the features of both pictures of a pair, by `eval.extractor`."""

    first: Measured | Judged
    second: Measured | Judged

    name = "moved"
    resources = ("eval", "numbers")

    def hangs_on(self) -> Any:
        return [identity.evaluators(self.config), str(self.first.numbers), str(self.second.numbers)]

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import registry as extractors

        own = {"first": _digest(self.first, run), "second": _digest(self.second, run)}
        return Address({**own, "extractor": extractors.digests(self.config.eval)}, identity.evaluators(self.config))

    def build(self, run: Run, folder: Path) -> None:
        import numpy as np

        from t2i.evaluation.extractors.registry import image_features

        network = extractors_of(self.config, run)[0]
        rows = [
            image_features(network, name, own, self.config.eval.batch_size).astype(np.float64)
            for name, own in (("first", _pictures(self.first)), ("second", _pictures(self.second)))
        ]
        first, second = (own / np.linalg.norm(own, axis=1, keepdims=True) for own in rows)
        write_json(folder / FILE, {"mean": float(1.0 - (first * second).sum(axis=1).mean())})

    def read(self, run: Run) -> float:
        """0: the same pictures."""
        return float(json.loads((made(self, run).path / FILE).read_text(encoding="utf-8"))["mean"])


def _digest(own: Measured | Judged, run: Run) -> str:
    return own.folder.name if isinstance(own, Measured) else digest_of(run.store.file_digests(own.given.paths))


def _pictures(own: Measured | Judged) -> "Pictures":
    return own.given.pictures if isinstance(own, Judged) else generated_pictures(own.folder, len(own.captions))
