"""What a sweep will take, from two timed batches, before it starts; and how much of it fits into a budget."""

import math
import time
from dataclasses import replace
from typing import Any

from t2i import identity
from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.spoken import duration
from t2i.stages.converted import drawing_models
from t2i.stages.networks import load_models
from t2i.stages.tuned import find_tuned
from t2i.sweeps import workers as sweep_workers
from t2i.sweeps.cells import cell_config
from t2i.sweeps.config import Sampler
from t2i.sweeps.opening import study_of

FEWEST = 8
"""Pictures a cell below which a comparison says nothing."""
IMAGES = "images"
"""Of a study with a budget: the pictures a cell that its first start found to fit, which hold for good. A later start
measures other times, and would begin anew with another number."""
STEPS = 2
"""Denoising steps of a timed batch."""


def planned(config: Config, run: Run) -> Config:
    """The configuration with as many pictures a cell as fit into `sweeps.budget`; what is to come is said.

    Raises ConfigError when not even `FEWEST` pictures a cell fit.
    """
    sweeps = config.sweeps
    if sweep_workers.is_worker() or sweeps.sampler is not Sampler.grid:
        return config
    study = study_of(config, run)
    budget, whole = sweeps.budget_seconds, _pictures(config)
    count = whole if budget is None else study.agreed(IMAGES)
    if count not in (None, whole):
        run.say(f"{count} pictures a cell, as planned when this sweep with sweeps.budget={sweeps.budget} began")
        config = _with_pictures(config, count)
        study = study_of(config, run)
    missing = study.to_come()
    if not missing:
        return config
    evaluation, decoding, memory = _timed(config, run)
    needed = 0.0
    for cell in missing:
        try:
            own = cell_config(config, run, cell)
        except ConfigError:  # the sweep will record it as failed
            continue
        needed += own.eval.images * (_evaluations(own, run) * evaluation + decoding)
    needed /= sweep_workers.count(config)
    training = identity.trains({**sweeps.fixed, **sweeps.space})
    run.say(
        f"this sweep: {len(missing)} new cells, about {duration(needed)} to draw{', and their trainings' if training else ''}, "
        f"{memory:.1f} GB"
    )
    if count is None:
        assert budget is not None
        fitting = min(whole, math.floor(whole * budget / needed))
        if fitting < min(FEWEST, whole):
            raise ConfigError(
                f"sweeps.budget={sweeps.budget} leaves {fitting} pictures for each of {len(missing)} cells, too few to "
                f"compare; use fewer cells, or sweeps.budget={math.ceil(needed * FEWEST / whole)}s"
            )
        count = int(study.agree(IMAGES, fitting))
        if count < whole:
            run.say(f"{count} pictures a cell instead of {whole} fit into {sweeps.budget}")
        config = _with_pictures(config, count)
    return config


def _pictures(config: Config) -> int:
    return int(config.sweeps.fixed.get("eval.images", config.eval.images))


def _with_pictures(config: Config, count: int) -> Config:
    if count == _pictures(config):
        return config
    fixed = {**config.sweeps.fixed, "eval.images": count}
    return replace(config, sweeps=replace(config.sweeps, fixed=fixed))


def _timed(config: Config, run: Run) -> tuple[float, float, float]:
    """Seconds of one U-Net evaluation and of one decoding, for one picture of a full batch; and GB at the peak."""
    from t2i.models.latents import decode
    from t2i.sampling.config import Scheduler
    from t2i.sampling.sampler import denoise, encode
    from t2i.training.memory import memory_mb

    own = replace(config, sweeps=replace(config.sweeps, fixed=_untrained(config)))
    own = cell_config(own, run, {})
    models = drawing_models(own, run, find_tuned(own, run))
    count = min(own.batch_size, own.eval.images)
    scheduler = Scheduler.by_class(models.family.schedulers[0], models.schedule(), STEPS)
    prompts = encode(models, ["a picture"] * count, own.cfg)
    rows = prompts.of(slice(None))
    for _ in range(2):  # the first one warms up
        began = time.perf_counter()
        latents = denoise(models, rows, prompts.unconditional, range(count), scheduler, own.cfg)
        latents.cpu()  # waits for the device
        drawn = time.perf_counter()
        decode(models, latents)
        decoded = time.perf_counter()
    evaluations = STEPS * (2 if own.cfg.active else 1) * count
    return (drawn - began) / evaluations, (decoded - drawn) / count, memory_mb(models.device) / 1024


def _untrained(config: Config) -> dict[str, Any]:
    """The fixed settings but those of trainings, which are still to come."""
    return {key: value for key, value in config.sweeps.fixed.items() if not identity.trains([key])}


def _evaluations(own: Config, run: Run) -> int:
    """U-Net evaluations of one picture of a cell, by the schedule of its base model."""
    models = load_models(own, run)
    timesteps = own.scheduler.start(models.schedule(), models.grid).timesteps.tolist()
    return sum(2 if own.cfg.acts_at(timestep) else 1 for timestep in timesteps)
