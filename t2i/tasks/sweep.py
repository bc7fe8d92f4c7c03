"""`task=sweep`: the same captions and seeds in every cell of a search, and which cell is best."""

import math
import os
import socket
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, as_dict, compose
from t2i.context import Run, flat, world_size
from t2i.errors import ConfigError, UserError
from t2i.store import digest_of
from t2i.sweeps.config import Sampler
from t2i.sweeps.space import Cell, cells
from t2i.tasks import sweep_workers
from t2i.tasks.evaluate import Measured, extractor_of, measure
from t2i.tasks.shared import captions_of, cost_of, generated_set, model_digest, prepared, read_pictures
from t2i.tasks.sweep_reference import referred
from t2i.tasks.tuned import Tuned, find_tuned

if TYPE_CHECKING:
    from t2i.sweeps.driver import Report
    from t2i.sweeps.study import Study

PICTURES, SCORES = "pictures", "scores"
"""Facts of a cell beside its numbers: the folder of its pictures, on the machine that made them, and each one's CLIP score."""


def sweep(config: Config, run: Run, tuned: Optional[Tuned] = None) -> dict[str, float]:
    """Returns the best cell's numbers; leaves heat maps, effects, pictures and a report. Cells that are done stay done."""
    tuned = tuned or find_tuned(config, run)
    if world_size() > 1 and (config.sweeps.racing or config.sweeps.sampler is not Sampler.grid):
        raise ConfigError("racing and samplers other than grid share cells among workers: use sweeps.workers=<GPUs>")
    config = referred(config, run, tuned)
    if not run.main:  # the study belongs to the main process; the others help it to make the pictures
        for cell in iter(lambda: _told(run, None), None):
            measured_cell(config, run, tuned, cell, lambda scores: False)
        return {}
    from t2i.sweeps.driver import outcomes, work
    from t2i.tasks.sweep_figures import tell
    from t2i.tasks.sweep_findings import find, plain
    from t2i.tasks.sweep_plan import planned

    config = planned(config, run, tuned)
    study = _study(config, run, tuned)

    def one(cell: Cell, report: "Report") -> dict[str, Any]:
        if world_size() > 1:
            _told(run, cell)
        numbers = measured_cell(config, run, tuned, cell, report)
        if sweep_workers.is_worker():
            return numbers
        label = ", ".join(f"{key}={value}" for key, value in cell.items())
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


def measured_cell(config: Config, run: Run, tuned: Optional[Tuned], cell: Cell, report: "Report") -> dict[str, Any]:
    """The numbers of one cell: every metric, what a picture cost, and where pictures and scores lie.

    Raises Beaten when the report says that the cell has lost its race.
    """
    own = cell_config(config, run, cell)
    numbers: dict[str, Any] = {}
    if any(key.startswith(("strategy", "training")) for key in {**cell, **config.sweeps.fixed}):
        from t2i.tasks.train import trained

        tuned, training = trained(own, run)
        numbers |= {name: training[name] for name in ("held_out_loss", "trainable_parameters")}
    measured = _raced(own, run, tuned, report) if config.sweeps.racing else measure(own, run, tuned)
    numbers |= {**measured.result.metrics, **cost_of(measured.folder), "images": own.eval.images}
    for name in config.sweeps.objectives:
        if name not in numbers:
            known = ", ".join(key for key in numbers if not key.endswith((".low", ".high")))
            raise UserError(f"sweeps.metric={name} was not measured; use one of: {known}")
    scores = measured.result.per_sample.get(f"clip_score[{measured.result.definition['clip']}]")
    if scores is not None:
        numbers[SCORES] = [round(float(score), 4) for score in scores]
    return {**numbers, PICTURES: str(measured.folder)}


def _raced(own: Config, run: Run, tuned: Optional[Tuned], report: "Report") -> Measured:
    """As `measure`, in rounds: after each, the cell may turn out to be beaten."""
    import numpy as np

    from t2i.evaluation.clip_score import clip_scores
    from t2i.evaluation.extractors import image_features, text_features
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


def _study(config: Config, run: Run, tuned: Optional[Tuned]) -> "Study":
    import optuna

    from t2i.sweeps.study import Study, open_storage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = config.sweeps.storage or f"sqlite:///{Path(config.outputs) / 'sweeps.db'}"
    seed = config.seed + int(os.environ.get(sweep_workers.NUMBER, "0"))
    if not storage.startswith("sqlite"):  # machines that share a study shall not suggest the same cells
        seed += zlib.crc32(socket.gethostname().encode())
    name = config.sweeps.study or study_name(config, run, tuned)
    return Study(config.sweeps, open_storage(storage, config.sweeps.heartbeat), name, seed)


def study_name(config: Config, run: Run, tuned: Optional[Tuned]) -> str:
    """One Optuna study for everything that the cells have in common: the space itself may grow."""
    data, _ = prepared(config, run)
    parts = ["eval", "scheduler", "cfg", "seed"]
    if any(key.startswith(("strategy", "training")) for key in config.sweeps.space):
        parts += ["strategy", "training"]
    settings = {name: as_dict(getattr(config, name)) for name in parts}
    fixed = as_dict(config.sweeps.fixed)
    if config.sweeps.budget is not None:  # says how many pictures, once and for all
        settings["eval"]["images"] = fixed["eval.images"] = config.sweeps.budget
    settings["eval"]["reference"] = Path(config.eval.reference).name  # alike on machines whose folders differ
    identity = {
        "model": model_digest(config, run),
        "weights": tuned.digest if tuned else "",
        "data": data.digest,
        "fixed": fixed,
        "settings": settings,
    }
    return f"{config.sweeps.name}-{digest_of(identity)[:12]}"


def cell_config(config: Config, run: Run, cell: Cell) -> Config:
    """The run's own command line with the fixed settings of the sweep and the values of one cell on top."""
    changes = {**config.sweeps.fixed, **cell}
    key = f"cell {digest_of([changes, config.eval.reference])}"
    if key not in run.cache:  # composing takes a quarter of a second, and a cell is asked for three times
        run.cache[key] = _composed(config, run, changes)
    own: Config = run.cache[key]
    return own


def _composed(config: Config, run: Run, changes: Cell) -> Config:
    ordered = sorted(changes.items(), key=lambda item: "." in item[0])  # a group would overwrite a key set before it
    own = compose([*run.overrides, *(f"{key}={value}" for key, value in ordered)])
    own.outputs, own.launch, own.sweeps = config.outputs, config.launch, config.sweeps
    if "eval.reference" not in changes:
        own.eval.reference = config.eval.reference
    if not any(key.startswith("dataset") for key in changes):
        own.dataset = config.dataset
    own.training = replace(own.training, export_pipeline=False)
    own.validate()
    return own


def grid_size(config: Config) -> int:
    """How many cells the sweep will try."""
    whole = len(cells(config.sweeps.space)) if config.sweeps.sampler is Sampler.grid else math.inf
    return int(min(whole, config.sweeps.trials or whole))
