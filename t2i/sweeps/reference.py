"""What the cells of a sweep are held against when it is not real pictures: those of a scheduler that is trusted."""

from dataclasses import replace
from typing import Optional

from t2i.config import Config, composed
from t2i.context import Run
from t2i.stages.captions import HeldOut
from t2i.stages.generated import Generated
from t2i.stages.stage import made
from t2i.stages.sweep_reference import SweepReference
from t2i.stages.weights import Weights
from t2i.sweeps.cells import cell_config, weights_of


def drawn(config: Config, run: Run, weights: Optional[Weights] = None) -> SweepReference:
    """The set that `sweeps.reference` draws: captions, seeds, steps, guidance and weights of the sweep with that scheduler."""
    own = cell_config(config, run, {})
    # Trusted as it stands in its file: what was typed for the scheduler of the sweep is not for this one.
    own = composed(own, {"scheduler": config.sweeps.reference, "scheduler.steps": own.scheduler.steps}, [])
    captions = HeldOut(own, own.eval.images)
    return SweepReference(own, Generated(own, captions, weights or weights_of(config, run, {})))


def referred(config: Config, run: Run) -> Config:
    """The configuration in whose cells `eval.reference` is that set. Unchanged where `sweeps.reference` is null.

    Every process has to call it.
    """
    sweeps = config.sweeps
    if sweeps.reference is None:
        return config
    stage = drawn(config, run)
    fixed = {**sweeps.fixed, "eval.reference": str(made(stage, run).path)}
    run.say(f"reference of the sweep: {sweeps.reference}, {stage.config.scheduler.steps} steps")
    return replace(config, sweeps=replace(sweeps, reference=None, fixed=fixed))
