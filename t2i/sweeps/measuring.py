"""Measuring a cell: its pictures and numbers, in rounds where cells race."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from t2i.config import Config
from t2i.context import Run
from t2i.errors import UserError
from t2i.stages.captions import HeldOut
from t2i.stages.generated import Generated, cost_of
from t2i.stages.metrics import Measured, Metrics
from t2i.stages.networks import extractor_of
from t2i.stages.pictures import read_pictures
from t2i.stages.stage import made
from t2i.stages.training import Trained, trained
from t2i.stages.weights import Weights
from t2i.sweeps.cells import cell_config, weights_of
from t2i.sweeps.findings import SCORES, TERMS
from t2i.sweeps.space import Cell

if TYPE_CHECKING:
    from t2i.sweeps.driver import Report

PICTURES = "pictures"
"""A fact of a cell beside its numbers: the folder of its pictures, on the machine that made them."""


def measured_cell(config: Config, run: Run, cell: Cell, report: "Report") -> dict[str, Any]:
    """The numbers of one cell: every metric, what a picture cost, and where pictures and scores lie.

    Raises Beaten when the report says that the cell has lost its race.
    """
    from t2i.evaluation.statistics import terms_file

    own = cell_config(config, run, cell)
    weights, numbers = weights_of(config, run, cell), dict[str, Any]()
    if isinstance(weights, Trained):
        training = trained(own, run)[1]
        numbers |= {name: training[name] for name in ("held_out_loss", "trainable_parameters") if name in training}
    measured = _raced(own, run, weights, report) if config.sweeps.racing else Metrics(own, weights).read(run)
    numbers |= {**measured.result.metrics, **cost_of(measured.folder), "images": own.eval.images}
    called = {name: called_so(numbers, name) for name in config.sweeps.objectives}
    for name, key in called.items():
        numbers |= {f"{name}{end}": numbers[f"{key}{end}"] for end in ("", ".low", ".high") if f"{key}{end}" in numbers}
    scores = measured.result.per_sample.get(f"clip_score[{measured.result.definition['clip']}]")
    if scores is not None:
        numbers[SCORES] = [round(float(score), 4) for score in scores]
    numbers[TERMS] = {
        name: terms_file.plain(measured.result.terms[key], measured.result.units)
        for name, key in called.items()
        if key in measured.result.terms
    }
    return {**numbers, PICTURES: str(measured.folder)}


def called_so(numbers: Mapping[str, Any], name: str) -> str:
    """The key of a number by its name: `pickscore` is `pickscore[...]`, of whatever weights the judge has.

    Raises UserError where none is called so, or several are.
    """
    keys = [name] if name in numbers else [key for key in numbers if key.startswith(f"{name}[") and key.endswith("]")]
    if len(keys) != 1:
        known = ", ".join(key for key in numbers if not key.endswith((".low", ".high")))
        raise UserError(f"sweeps.metric={name} was not measured; use one of: {known}")
    return keys[0]


def _raced(own: Config, run: Run, weights: Weights, report: "Report") -> Measured:
    """The numbers, in rounds: after each, the cell may turn out to be beaten."""
    import numpy as np

    from t2i.evaluation.extractors.registry import image_features, text_features
    from t2i.evaluation.metrics.clip_score import clip_scores
    from t2i.sweeps.driver import Beaten

    captions, clip = HeldOut(own, own.eval.images).texts(run), extractor_of(own, run)
    scores: list[float] = []
    drawn = None
    for count in range(own.sweeps.round, own.eval.images, own.sweeps.round):
        drawn = Generated(own, HeldOut(own, count), weights, drawn)
        folder = made(drawn, run).path
        new = slice(len(scores), count)
        pictures = read_pictures(folder, count - len(scores), len(scores))
        images = image_features(clip, "generated", pictures, own.eval.batch_size)
        texts = text_features(clip, captions[new], own.eval.batch_size)
        scores += clip_scores(images, texts).tolist()
        if report(scores[new]):
            metric = f"clip_score[{clip.name}]"
            raise Beaten(
                {metric: float(np.mean(scores)), "images": count, SCORES: scores, PICTURES: str(folder)}
                | cost_of(folder)
            )
    measured = Metrics(own, weights, earlier=drawn).read(run)
    report(measured.result.per_sample[f"clip_score[{clip.name}]"][len(scores) :].tolist())
    return measured
