"""Losses that can be compared: fixed timesteps and noise, no dropout, no augmentation, picture by picture."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from torch import nn

from t2i.training.dataset import LatentSet
from t2i.training.objective import losses

TIMESTEPS = 4
"""One timestep from the middle of each equal range of the noise schedule."""
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
    noise_schedule: DDPMScheduler,
    pictures: LatentSet,
    count: int,
    epoch: int,
    accelerator: Accelerator,
    dtype: torch.dtype,
    most: int = 32,
) -> torch.Tensor:
    """Loss of the first `count` pictures at each of the fixed timesteps, float64 (count, TIMESTEPS), in every process.

    Each process computes its share; `module` is left in training mode, and dropout is off meanwhile.
    """
    device = accelerator.device
    top = noise_schedule.config["num_train_timesteps"]
    levels = [round((k + 0.5) * top / TIMESTEPS) for k in range(TIMESTEPS)]
    pairs = [(i, k) for i in range(count) for k in range(TIMESTEPS)]
    found = torch.zeros(count, TIMESTEPS, dtype=torch.float64, device=device)
    module.eval()
    with torch.no_grad():
        for part in _of_one_size(pictures, pairs[accelerator.process_index :: accelerator.num_processes], most):
            samples, steps = [(epoch, i) for i, _ in part], [levels[k] for _, k in part]
            data = pictures.batch(samples, SEED, 0.0, device, dtype, timesteps=steps)
            with accelerator.autocast():
                each = losses(
                    module, noise_schedule, data.latents, data.noise, data.timesteps, data.text, None, dtype
                )  # fmt: skip
            rows, columns = (torch.tensor(side, device=device) for side in zip(*part, strict=True))
            found[rows, columns] = each.double()
    module.train()
    summed: torch.Tensor = accelerator.reduce(found, "sum")
    return summed


def _of_one_size(pictures: LatentSet, pairs: list[tuple[int, int]], most: int) -> Iterator[list[tuple[int, int]]]:
    """Pairs whose first number is a position, up to `most` of equal size together."""
    for size in sorted(set(pictures.sizes)):
        own = [pair for pair in pairs if pictures.sizes[pair[0]] == size]
        yield from (own[start : start + most] for start in range(0, len(own), most))
