"""Back to the step of a checkpoint: parameters and optimizer as they were, or as far as another configuration goes."""

from collections.abc import Mapping
from typing import Any

import torch

from t2i.errors import UserError
from t2i.training import shards
from t2i.training.resuming.checkpoints import Checkpoint, differences


def restore(
    found: Checkpoint, parameters: Mapping[str, torch.Tensor], optimizer: Any, schedule: Any, scaler: Any
) -> None:
    """Put a checkpoint's state into a training that was built as it was; `scaler` may be None."""
    _place(found, parameters)
    optimizer.load_state_dict(shards.moments_like(found.optimizer["optimizer"], optimizer))
    schedule.load_state_dict(found.optimizer["schedule"])
    if scaler is not None and found.optimizer["scaler"]:
        scaler.load_state_dict(found.optimizer["scaler"])


def adopt(
    found: Checkpoint,
    identity: Mapping[str, Any],
    parameters: Mapping[str, torch.Tensor],
    optimizer: Any,
    schedule: Any,
    scaler: Any,
) -> list[str]:
    """Put a checkpoint of another configuration into a training: its parameters, the optimizer's moments, and its place in
    the learning rate's schedule. Every setting - rates, decay, schedule, steps - stays as it is configured now.

    Returns what could not be taken over, in sentences. Raises UserError that names the keys when the parameters are others.
    """
    changed = differences(found.facts["identity"], identity)
    shapes = {name: tuple(tensor.shape) for name, tensor in found.parameters.items()}
    wanted = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    if shapes != wanted:
        name = sorted({name for name, _ in shapes.items() ^ wanted.items()})[0]
        keys = [text for key, text in changed.items() if key == "model" or key.startswith("strategy.")]
        raise UserError(
            f"the checkpoint of step {found.step} holds other parameters than train here ({name} is "
            f"{shapes.get(name, 'missing')} there and {wanted.get(name, 'missing')} here), which follows from "
            f"{', '.join(keys) or 'the model'}; repeat its values"
        )
    _place(found, parameters)
    said = []
    if "training.optimizer" in changed:
        said.append(f"its optimizer's state begins anew: training.optimizer is {_pair(changed['training.optimizer'])}")
    else:
        own = optimizer.state_dict()["param_groups"]
        state = {**found.optimizer["optimizer"], "param_groups": own}
        optimizer.load_state_dict(shards.moments_like(state, optimizer))
    _advance(schedule, found.optimizer["schedule"]["last_epoch"])
    if scaler is not None and found.optimizer["scaler"]:
        scaler.load_state_dict(found.optimizer["scaler"])
    return said


def _pair(text: str) -> str:
    return text.partition("(")[2].rstrip(")")


def _place(found: Checkpoint, parameters: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(shards.like(found.parameters[name], parameter))


def _advance(schedule: torch.optim.lr_scheduler.LambdaLR, step: int) -> None:
    """As if a schedule, as it is configured, had been at `step` already."""
    schedule.last_epoch = step
    rates = [rate * factor(step) for rate, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates
