"""Losses that can be compared: fixed timesteps and noise, no dropout, no augmentation, picture by picture."""

from dataclasses import dataclass

import torch
from torch import nn

from t2i.training.memory import Portion
from t2i.training.objective import Objective, losses
from t2i.training.parallel import Replicated
from t2i.training.prior import Pictures

TIMESTEPS = 4
"""One timestep from the middle of each equal range of the noise schedule."""
AT_ONCE = 32
"""Pictures and timesteps that are measured together, while they fit into memory."""
SEED, HELD_OUT_EPOCH, TRAIN_EPOCH = 0, 0, -1
"""Of the noise. No training has an epoch -1: a training picture is measured under noise that was never trained on."""


@dataclass(frozen=True)
class Losses:
    """What was measured at fixed timesteps and noise."""

    held_out: list[list[float]]
    """Step and mean held-out loss, at every checkpoint."""
    before: dict[str, list[float]]
    """By `held_out` and `train`: the loss of each measured picture at step 0."""
    after: dict[str, list[float]]
    """The same with the exported weights."""


def picture_losses(
    module: nn.Module,
    objective: Objective,
    pictures: Pictures,
    count: int,
    epoch: int,
    parallel: Replicated,
    dtype: torch.dtype,
    portion: Portion,
) -> torch.Tensor:
    """Loss of the first `count` pictures at each of the fixed timesteps, float64 (count, TIMESTEPS), in every process.

    Each process computes its share, a portion at a time; `module` is left in training mode, and dropout is off meanwhile.
    """
    device = parallel.accelerator.device
    levels, plain = objective.times(TIMESTEPS), objective.plain
    pairs = [(k, i) for i in range(count) for k in range(TIMESTEPS)]
    found = torch.zeros(count, TIMESTEPS, dtype=torch.float64, device=device)

    def measure(size: int) -> None:
        for part, counts in parallel.portions(pictures.sizes, pairs, size):
            samples, steps = [(epoch, i) for _, i in part], [levels[k] for k, _ in part]
            data = pictures.batch(samples, SEED, 0.0, device, dtype, timesteps=steps)
            with parallel.accelerator.autocast():
                each = losses(module, plain, data, dtype)
            if counts:
                columns, rows = (torch.tensor(side, device=device) for side in zip(*part, strict=True))
                found[rows, columns] = each.double()

    module.eval()
    with torch.no_grad():
        portion.run(measure)
    module.train()
    summed: torch.Tensor = parallel.accelerator.reduce(found, "sum")
    return summed
