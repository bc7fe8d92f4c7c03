"""What a sweep will take, from two timed batches, before it starts; and how much of it fits into a budget."""

import dataclasses
import math
import time
from typing import Optional

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.sweeps.config import Sampler
from t2i.tasks import sweep_workers
from t2i.tasks.shared import load_models
from t2i.tasks.tuned import Tuned

FEWEST = 8
"""Pictures a cell below which a comparison says nothing."""
IMAGES = "images"
"""Of a study with a budget: the pictures a cell that its first start found to fit, which hold for good. A later start
measures other times, and would begin anew with another number."""
STEPS = 2
"""Denoising steps of a timed batch."""


def planned(config: Config, run: Run, tuned: Optional[Tuned]) -> Config:
    """The configuration with as many pictures a cell as fit into `sweeps.budget`; what is to come is said.

    Raises ConfigError when not even `FEWEST` pictures a cell fit.
    """
    from t2i.tasks.sweep import _study, cell_config

    sweeps = config.sweeps
    if sweep_workers.is_worker() or sweeps.sampler is not Sampler.grid:
        return config
    study = _study(config, run, tuned)
    missing, budget, whole = study.missing(), sweeps.budget_seconds, _pictures(config)
    count = whole if budget is None else study.agreed(IMAGES)
    if count not in (None, whole):
        run.say(f"{count} pictures a cell, as planned when this sweep with sweeps.budget={sweeps.budget} began")
    if not missing:
        return _with_pictures(config, count or whole)
    evaluation, decoding, memory = _timed(config, run, tuned)
    needed = 0.0
    for cell in missing:
        try:
            own = cell_config(config, run, cell)
        except ConfigError:  # the sweep will record it as failed
            continue
        share = (count or whole) / whole
        needed += own.eval.images * share * (_evaluations(own, run, tuned) * evaluation + decoding)
    needed /= sweeps.workers
    training = any(key.startswith(("strategy", "training")) for key in sweeps.space)
    run.say(
        f"this sweep: {len(missing)} new cells, about {spoken(needed)} to draw{', and their trainings' if training else ''}, "
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
    return _with_pictures(config, count)


def _pictures(config: Config) -> int:
    return int(config.sweeps.fixed.get("eval.images", config.eval.images))


def _with_pictures(config: Config, count: int) -> Config:
    if count == _pictures(config):
        return config
    fixed = {**config.sweeps.fixed, "eval.images": count}
    return dataclasses.replace(config, sweeps=dataclasses.replace(config.sweeps, fixed=fixed))


def _timed(config: Config, run: Run, tuned: Optional[Tuned]) -> tuple[float, float, float]:
    """Seconds of one U-Net evaluation and of one decoding, for one picture of a full batch; and GB at the peak."""
    from t2i.models.latents import decode
    from t2i.sampling.config import Scheduler
    from t2i.sampling.sampler import denoise, encode
    from t2i.training.loop import memory_mb

    models = load_models(config, run, tuned)
    count = min(config.batch_size, _pictures(config))
    scheduler = Scheduler(name="ddim", type="DDIMScheduler", steps=STEPS)
    conditions = encode(models, ["a picture"] * count, config.cfg)
    text = conditions.states[conditions.index]
    for _ in range(2):  # the first one warms up
        began = time.perf_counter()
        latents = denoise(models, text, conditions.empty, range(count), scheduler, config.cfg)
        latents.cpu()  # waits for the device
        drawn = time.perf_counter()
        decode(models, latents)
        decoded = time.perf_counter()
    evaluations = STEPS * (2 if config.cfg.active else 1) * count
    return (drawn - began) / evaluations, (decoded - drawn) / count, memory_mb(models.device) / 1024


def _evaluations(own: Config, run: Run, tuned: Optional[Tuned]) -> int:
    """U-Net evaluations of one picture of a cell."""
    timesteps = own.scheduler.start(load_models(own, run, tuned).scheduler_config).timesteps.tolist()
    return sum(2 if own.cfg.acts_at(timestep) else 1 for timestep in timesteps)


def spoken(seconds: float) -> str:
    """A duration as a person says it: 45 s, 12 min, 1 h 50 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
