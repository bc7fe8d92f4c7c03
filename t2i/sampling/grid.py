"""The times that a scheduler visits: what a model asks for, whether they are sound, and what is told of them."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

    from t2i.models.parts import Models
    from t2i.sampling.config import Scheduler

Grid = Callable[[int], dict[str, Any]]
"""Number of steps to what `set_timesteps` of a scheduler is told beside it."""
FLOW_SIGMAS = "use_flow_sigmas"
"""Of solvers in diffusers that can do either."""


def flows(scheduler: "SchedulerMixin") -> bool:
    """Whether a scheduler of diffusers goes along a flow."""
    return bool(scheduler.config.get(FLOW_SIGMAS)) or type(scheduler).__name__.startswith("FlowMatch")


def place(scheduler: "SchedulerMixin", steps: int, grid: Grid) -> bool:
    """Set the timesteps as the pipelines of diffusers do, and say whether the scheduler keeps to the trained range and comes to
    none of them twice. ValueError for a number that it does not take.
    """
    told = grid(steps)
    if scheduler.config.get(FLOW_SIGMAS):  # these have a grid of their own
        told.pop("sigmas", None)
    scheduler.set_timesteps(steps, **told)
    # Noise levels after Karras et al. lie closely by intention.
    again = len(scheduler.timesteps.unique()) < steps and not scheduler.config.get("use_karras_sigmas")
    # Along a flow, the first time is pure noise itself: 1000 of 1000.
    beyond = scheduler.timesteps.max() >= scheduler.config["num_train_timesteps"] + flows(scheduler)
    return not again and not bool(beyond)


def most_steps(scheduler: "SchedulerMixin", refused: int, grid: Grid) -> int:
    """The largest number of steps below a refused one that a scheduler takes."""
    taken = 0
    while refused - taken > 1:
        middle = (taken + refused) // 2
        try:
            sound = place(scheduler, middle, grid)
        except ValueError:
            sound = False
        taken, refused = (middle, refused) if sound else (taken, middle)
    return taken


def told(models: "Models", scheduler: "Scheduler") -> dict[str, Any]:
    """What a picture's recipe and the definition of a number say of the noise levels along a flow, where equal steps are no
    equal grids: `grid`, the first one and the last one above 0, and the shift. Nothing for diffusion, whose configuration and
    number of steps say it.
    """
    if not scheduler.flows:
        return {}
    started: Any = scheduler.start(models.schedule(), models.grid)
    levels = [level for level in started.sigmas.tolist() if level > 0]
    asked = models.grid(scheduler.steps).get("mu")
    shift = models.schedule().get("shift", 1.0) if asked is None else math.exp(asked)
    return {"grid": {"first": round(levels[0], 6), "last": round(levels[-1], 6), "shift": round(shift, 6)}}
