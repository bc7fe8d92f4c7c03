"""Drawing that begins from a picture, all of it or a part: SDEdit (Meng et al. 2022), as the pipelines of diffusers do it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

from t2i.models.parts import Models
from t2i.sampling.given import Beginning

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


class Begun(NamedTuple):
    """Where the sampler goes on from."""

    latents: torch.Tensor
    """Noised, (n, channels, height, width)."""
    timesteps: torch.Tensor
    """Those that are left."""
    put_back: Callable[[torch.Tensor, int], torch.Tensor]
    """What becomes of the latents after the step of this number, from 0."""


def begun(
    models: Models,
    beginning: Beginning,
    scheduler: "SchedulerMixin",
    steps: int,
    generators: Sequence[torch.Generator],
    dtype: torch.dtype,
) -> Begun:
    """One picture a generator; its numbers are drawn in the order in which the family's pipelines draw them.

    scheduler: with its timesteps set. Raises ConfigError for a family that cannot begin from a picture.
    """
    models.family.require_beginning(beginning.mask is not None)
    first = beginning.skipped(steps) * scheduler.order
    timesteps = scheduler.timesteps[first:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    clean = _encoded(models, beginning.pixels, generators).to(dtype)
    noise = randn_tensor(clean.shape, generator=list(generators), device=models.device, dtype=dtype)
    time = timesteps[:1].repeat(len(clean))
    if beginning.mask is None:
        return Begun(scheduler.add_noise(clean, noise, time), timesteps, lambda latents, step: latents)
    clean, whole = clean.contiguous(), beginning.strength == 1
    latents = noise * scheduler.init_noise_sigma if whole else scheduler.add_noise(clean, noise, time)
    # The pipeline encodes the masked picture next, for networks that read it, with the same generators.
    randn_tensor(clean.shape, generator=list(generators), device=models.device, dtype=dtype)
    mask = torch.from_numpy(beginning.mask.astype(np.float32))[None, None]
    mask = torch.nn.functional.interpolate(mask, size=clean.shape[-2:]).to(models.device, dtype)

    def put_back(latents: torch.Tensor, step: int) -> torch.Tensor:
        kept = clean
        if step < len(timesteps) - 1:
            kept = scheduler.add_noise(clean, noise, timesteps[step + 1 : step + 2])
        return (1 - mask) * kept + mask * latents

    return Begun(latents, timesteps, put_back)


def _encoded(models: Models, pixels: np.ndarray, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Latents of the picture, drawn from its moments once a generator."""
    kind = next(models.vae.parameters()).dtype
    # On [-1, 1] in float32 as diffusers has it, to the last bit: by the strides, too, a convolution chooses its algorithm.
    picture = torch.from_numpy(pixels[None].astype(np.float32) / 255.0).permute(0, 3, 1, 2) * 2.0 - 1.0
    with models.on_device("vae"):
        moments = models.family.encode(models, picture.to(models.device, kind))
    shape = (1, moments.shape[1] // 2, *moments.shape[2:])
    drawn = [
        models.family.latents(models, moments, randn_tensor(shape, generator=own, device=moments.device, dtype=kind))
        for own in generators
    ]
    return torch.cat(drawn)
