"""The one sampler: captions and seeds in, uint8 pictures out; equal to diffusers' StableDiffusionPipeline."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

from t2i.models.latents import decode
from t2i.models.load import Models
from t2i.models.text import text_states
from t2i.sampling.config import Guidance, Scheduler


@dataclass(frozen=True)
class Conditions:
    """Text states of every distinct prompt: float (K, tokens, width); `index` maps each picture to its row."""

    states: torch.Tensor
    index: torch.Tensor
    empty: torch.Tensor
    """(1, tokens, width): the negative or the empty prompt."""


def encode(models: Models, prompts: Sequence[str], guidance: Guidance) -> Conditions:
    """Each distinct prompt once, and the negative prompt once."""
    distinct = list(dict.fromkeys(prompts))
    position = {prompt: i for i, prompt in enumerate(distinct)}
    states = text_states(models, [*distinct, guidance.negative_prompt or ""])
    return Conditions(states[:-1], torch.tensor([position[p] for p in prompts]), states[-1:])


@torch.no_grad()
def sample(
    models: Models,
    conditions: Conditions,
    seeds: Sequence[int],
    scheduler: Scheduler,
    guidance: Guidance,
    batch_size: int = 8,
    on_batch: Callable[[int], object] = lambda done: None,
) -> Iterator[np.ndarray]:
    """Batches of pictures, uint8 (n, H, W, 3), in the order of `seeds`; picture i is a function of seeds[i] alone.

    Raises UserError when a picture is not finite.
    """
    for start in range(0, len(seeds), batch_size):
        chosen = slice(start, start + batch_size)
        text = conditions.states[conditions.index[chosen]]
        latents = denoise(models, text, conditions.empty, seeds[chosen], scheduler, guidance)
        yield decode(models, latents)
        on_batch(len(seeds[chosen]))


@torch.no_grad()
def denoise(
    models: Models,
    text: torch.Tensor,
    empty: torch.Tensor,
    seeds: Sequence[int],
    scheduler_config: Scheduler,
    guidance: Guidance,
) -> torch.Tensor:
    """Latents (n, channels, height, width) of one batch. text: (n, tokens, width), empty: (1, tokens, width)."""
    device, dtype = models.unet.device, next(models.vae.parameters()).dtype
    scheduler = scheduler_config.start(models.scheduler_config, device)
    # Generators live on the CPU, so that a seed gives the same picture on every device.
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    side = models.resolution // 2 ** (len(models.vae.config["block_out_channels"]) - 1)
    shape = (len(seeds), models.unet.config["in_channels"], side, side)
    latents = randn_tensor(shape, generator=generators, device=device, dtype=dtype) * scheduler.init_noise_sigma
    accepted = inspect.signature(scheduler.step).parameters
    extra = {"generator": generators} if "generator" in accepted else {}
    if "eta" in accepted:
        extra["eta"] = scheduler_config.eta  # type: ignore[assignment]
    text = torch.cat([empty.expand_as(text), text]) if guidance.active else text
    text = text.to(dtype)
    for timestep in scheduler.timesteps:
        both = torch.cat([latents, latents]) if guidance.active else latents
        prediction = models.unet(
            scheduler.scale_model_input(both, timestep), timestep, encoder_hidden_states=text
        ).sample
        if guidance.active:
            unconditional, conditional = prediction.chunk(2)
            prediction = unconditional + guidance.scale * (conditional - unconditional)
        latents = scheduler.step(prediction, timestep, latents, **extra, return_dict=False)[0]
    return latents
