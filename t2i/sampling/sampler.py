"""The one sampler: captions and seeds in, uint8 pictures out; equal to diffusers' StableDiffusionPipeline."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

from t2i.errors import UserError
from t2i.models.latents import decode
from t2i.models.load import Models
from t2i.models.text import text_states
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.text_cache import text_kept

OnStep = Callable[[int, int, torch.Tensor], object]
"""Is told the step from 1, the number of steps, and the latents (n, channels, height, width) after it; what it raises
ends the sampling."""


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
    with models.on_device("text_encoder"):
        states = text_states(models, [*distinct, guidance.negative_prompt or ""])
    return Conditions(states[:-1], torch.tensor([position[p] for p in prompts], dtype=torch.long), states[-1:])


@torch.no_grad()
def sample(
    models: Models,
    conditions: Conditions,
    seeds: Sequence[int],
    scheduler: Scheduler,
    guidance: Guidance,
    batch_size: int = 8,
    on_batch: Callable[[int], object] = lambda done: None,
    on_step: OnStep | None = None,
    keep_text: bool = True,
) -> Iterator[np.ndarray]:
    """Batches of pictures, uint8 (n, H, W, 3), in the order of `seeds`; picture i is a function of seeds[i] alone.

    A batch that does not fit into memory is halved, and so are all that follow. Raises UserError when a picture is not
    finite, or does not fit alone.
    """
    start = 0
    while start < len(seeds):
        chosen = slice(start, start + batch_size)
        text = conditions.states[conditions.index[chosen]]
        try:
            latents = denoise(
                models, text, conditions.empty, seeds[chosen], scheduler, guidance, on_step=on_step, keep_text=keep_text
            )
            with models.on_device("vae"):
                pictures = decode(models, latents)
        except torch.OutOfMemoryError as error:
            count = len(seeds[chosen])
            if count == 1:
                raise UserError(
                    "out of memory with one picture at a time; use sampling.attention_slicing=true, "
                    "sampling.vae_tiling=true, sampling.cpu_offload=true or launch.mixed_precision=fp16"
                ) from error
            batch_size = count // 2
            continue  # the halves begin outside of this handler, which still holds what did not fit
        yield pictures
        start += len(pictures)
        on_batch(len(pictures))


@torch.no_grad()
def denoise(
    models: Models,
    text: torch.Tensor,
    empty: torch.Tensor,
    seeds: Sequence[int],
    scheduler_config: Scheduler,
    guidance: Guidance,
    start: torch.Tensor | None = None,
    on_step: OnStep | None = None,
    keep_text: bool = True,
) -> torch.Tensor:
    """Latents (n, channels, height, width) of one batch. text: (n, tokens, width), empty: (1, tokens, width).

    start: standard normal latents of the same shape to begin from, in place of those of `seeds`.
    """
    device, dtype = models.device, next(models.vae.parameters()).dtype
    scheduler = scheduler_config.start(models.scheduler_config)
    # Generators live on the CPU, so that a seed gives the same picture on every device.
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    noise = randn_tensor(models.latent_shape(len(seeds)), generator=generators, device=device, dtype=dtype)
    latents = (noise if start is None else start.to(device, dtype)) * scheduler.init_noise_sigma
    accepted = inspect.signature(scheduler.step).parameters
    extra = {"generator": generators} if "generator" in accepted else {}
    if "eta" in accepted:
        extra["eta"] = scheduler_config.eta  # type: ignore[assignment]
    text = text.to(dtype)
    both = torch.cat([empty.to(dtype).expand_as(text), text]) if guidance.active else text
    # The scheduler computes with numbers on the CPU: one read from the device would wait for it in every step.
    on_device = scheduler.timesteps.to(device)
    total = len(on_device)
    with models.on_device("unet"), text_kept(models.unet) if keep_text else contextlib.nullcontext():
        for step, timestep in enumerate(scheduler.timesteps):
            guided = guidance.acts_at(float(timestep))
            inputs = scheduler.scale_model_input(torch.cat([latents, latents]) if guided else latents, timestep)
            prediction = models.unet(inputs, on_device[step], encoder_hidden_states=both if guided else text).sample
            if guided:
                prediction = guidance.combine(*prediction.chunk(2))
            latents = scheduler.step(prediction, timestep, latents, **extra, return_dict=False)[0]
            if on_step is not None:
                on_step(step + 1, total, latents)
    return latents
