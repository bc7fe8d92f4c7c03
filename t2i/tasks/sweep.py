"""`task=sweep`: the same captions and seeds in every cell of a search, and which cell is best."""

import math
import os
import socket
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, as_dict, as_override
from t2i.context import Run, flat, world_size
from t2i.errors import ConfigError, UserError
from t2i.stages.fitting import fit_images
from t2i.stages.generated import captions_of, cost_of, generated_set, prepared, read_pictures
from t2i.stages.sweep_reference import referred
from t2i.stages.tuned import Tuned
from t2i.sweeps import workers as sweep_workers
from t2i.sweeps.cells import Identities, cell_config, grid_cells, require_read, study_name, weights_of
from t2i.sweeps.config import Sampler
from t2i.sweeps.space import Cell, cells
from t2i.tasks.evaluate import Measured, extractor_of, measure

if TYPE_CHECKING:
    from t2i.sweeps.driver import Report
    from t2i.sweeps.study import Study

PICTURES, SCORES, TERMS = "pictures", "scores", "terms"
"""Facts of a cell beside its numbers: the folder of its pictures, on the machine that made them, each one's CLIP score, and what
the sweep's metric is made of, by which cells are told apart."""


def sweep(config: Config, run: Run) -> dict[str, float]:
    """Returns the best cell's numbers; leaves heat maps, effects, pictures and a report. Cells that are done stay done."""
    fit_images(config, run)
    if world_size() > 1 and (config.sweeps.racing or config.sweeps.sampler is not Sampler.grid):
        raise ConfigError("racing and samplers other than grid share cells among workers: use sweeps.workers=<GPUs>")
    if not sweep_workers.is_worker():
        require_read(config, run)
    config = referred(config, run)
    known = Identities(config, run)
    for cell in [{}, *grid_cells(config)] if world_size() > 1 else []:
        known(cell)  # by all processes: what is read for it may have to be prepared
    if not run.main:  # the study belongs to the main process; the others help it to make the pictures
        for cell in iter(lambda: _told(run, None), None):
            measured_cell(config, run, cell, lambda scores: False)
        return {}
    from t2i.stories.sweep import tell
    from t2i.sweeps.budget import planned
    from t2i.sweeps.driver import outcomes, work
    from t2i.sweeps.findings import find, plain

    config = planned(config, run)
    study = study_of(config, run)

    def one(cell: Cell, report: "Report") -> dict[str, Any]:
        if world_size() > 1:
            _told(run, cell)
        numbers = measured_cell(config, run, cell, report)
        if sweep_workers.is_worker():
            return numbers
        label = ", ".join(as_override(key, value) for key, value in cell.items())
        with run.tracker.child(f"cell {label}") as child:
            child.params(flat(as_dict(cell_config(config, run, cell))))
            child.metrics(plain(numbers))
        run.say(f"{label}: {config.sweeps.metric} = {numbers.get(config.sweeps.metric, float('nan')):.3f}")
        return numbers

    if config.sweeps.workers > 1 and (config.sweeps.sampler is not Sampler.grid or study.missing()):
        sweep_workers.start(config, run, study, lambda cell: flat(as_dict(cell_config(config, run, cell))))
    work(study, one)
    if world_size() > 1:
        _told(run, None)
    found = outcomes(study)
    if sweep_workers.is_worker():
        return {"cells": float(len(found))}
    if not any(outcome.numbers and not outcome.beaten for outcome in found):
        raise UserError(f"every cell of sweeps={config.sweeps.name} failed; see run.log")
    finding = find(config, found)
    tell(config, run, study, finding)
    numbers = plain(finding.best.numbers)
    made = sum(outcome.numbers.get("images", 0) for outcome in found)
    return {f"best.{name}": value for name, value in numbers.items()} | {
        "cells": float(len(found)),
        "new_cells": float(sum(outcome.new and bool(outcome.numbers) for outcome in found)),
        "images": float(made),
    }


def measured_cell(config: Config, run: Run, cell: Cell, report: "Report") -> dict[str, Any]:
    """The numbers of one cell: every metric, what a picture cost, and where pictures and scores lie.

    Raises Beaten when the report says that the cell has lost its race.
    """
    from t2i.evaluation.statistics import terms_file

    own = cell_config(config, run, cell)
    tuned, training = weights_of(config, run, cell)
    names = ("held_out_loss", "trainable_parameters")
    numbers: dict[str, Any] = {name: training[name] for name in names if name in training}
    measured = _raced(own, run, tuned, report) if config.sweeps.racing else measure(own, run, tuned)
    numbers |= {**measured.result.metrics, **cost_of(measured.folder), "images": own.eval.images}
    for name in config.sweeps.objectives:
        if name not in numbers:
            known = ", ".join(key for key in numbers if not key.endswith((".low", ".high")))
            raise UserError(f"sweeps.metric={name} was not measured; use one of: {known}")
    scores = measured.result.per_sample.get(f"clip_score[{measured.result.definition['clip']}]")
    if scores is not None:
        numbers[SCORES] = [round(float(score), 4) for score in scores]
    if own.sweeps.metric in measured.result.terms:
        numbers[TERMS] = terms_file.plain(measured.result.terms[own.sweeps.metric], measured.result.units)
    return {**numbers, PICTURES: str(measured.folder)}


def _raced(own: Config, run: Run, tuned: Optional[Tuned], report: "Report") -> Measured:
    """As `measure`, in rounds: after each, the cell may turn out to be beaten."""
    import numpy as np

    from t2i.evaluation.extractors.registry import image_features, text_features
    from t2i.evaluation.metrics.clip_score import clip_scores
    from t2i.sweeps.driver import Beaten

    _, data = prepared(own, run)
    captions, clip = captions_of(data, own.eval.images), extractor_of(own, run)
    scores: list[float] = []
    made = None
    for count in range(own.sweeps.round, own.eval.images, own.sweeps.round):
        made = generated_set(own, run, captions[:count], tuned, made)
        new = slice(len(scores), count)
        pictures = read_pictures(made.path, count - len(scores), len(scores))
        images = image_features(clip, "generated", pictures, own.eval.batch_size)
        texts = text_features(clip, captions[new], own.eval.batch_size)
        scores += clip_scores(images, texts).tolist()
        if report(scores[new]):
            metric = f"clip_score[{clip.name}]"
            raise Beaten(
                {metric: float(np.mean(scores)), "images": count, SCORES: scores, PICTURES: str(made.path)}
                | cost_of(made.path)
            )
    measured = measure(own, run, tuned, made)
    report(measured.result.per_sample[f"clip_score[{clip.name}]"][len(scores) :].tolist())
    return measured


def _told(run: Run, cell: Optional[Cell]) -> Optional[Cell]:
    """The cell that the main process measures next, in every process; None when there is none left."""
    from accelerate.utils import broadcast_object_list

    told: list[Optional[Cell]] = broadcast_object_list([cell])
    return told[0]


def study_of(config: Config, run: Run) -> "Study":
    """The study of this sweep, opened or created."""
    import optuna

    from t2i.sweeps.study import Study, open_storage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = config.sweeps.storage or f"sqlite:///{Path(config.outputs) / 'sweeps.db'}"
    seed = config.seed + int(os.environ.get(sweep_workers.NUMBER, "0"))
    if not storage.startswith("sqlite"):  # machines that share a study shall not suggest the same cells
        seed += zlib.crc32(socket.gethostname().encode())
    known = Identities(config, run)
    name = config.sweeps.study or study_name(config, run, known)
    return Study(config.sweeps, open_storage(storage, config.sweeps.heartbeat), name, seed, known)


def grid_size(config: Config) -> int:
    """How many cells the sweep will try."""
    whole = len(cells(config.sweeps.space)) if config.sweeps.sampler is Sampler.grid else math.inf
    return int(min(whole, config.sweeps.trials or whole))
