"""The one sampler: captions and seeds in, uint8 pictures out; equal to the pipeline of diffusers that the family names."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

from t2i.errors import UserError
from t2i.models.families.family import Conditions
from t2i.models.families.picture import Picture
from t2i.models.latents import decode
from t2i.models.parts import Models
from t2i.sampling.beginning import Begun, begun
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.given import Beginning
from t2i.sampling.text_cache import text_kept

OnStep = Callable[[int, int, torch.Tensor], object]
"""Is told the step from 1, the number of steps, and the latents (n, channels, height, width) after it; what it raises
ends the sampling."""


@dataclass(frozen=True)
class Prompts:
    """What the denoiser reads of every distinct prompt; `index` maps each picture to its row."""

    rows: Conditions
    index: torch.Tensor
    unconditional: Conditions
    """One row: of the negative prompt, or of none."""

    def of(self, chosen: slice) -> Conditions:
        """The rows of these pictures."""
        return {name: values[self.index[chosen]] for name, values in self.rows.items()}


def encode(models: Models, prompts: Sequence[str], guidance: Guidance) -> Prompts:
    """Each distinct prompt once, and the negative prompt once; ConfigError where the model takes no guidance."""
    models.family.require_guidance(models, guidance.scale)
    distinct = list(dict.fromkeys(prompts))
    position = {prompt: i for i, prompt in enumerate(distinct)}
    with models.on_device(*models.family.encoders):
        every = models.family.conditions(models, [*distinct, guidance.negative_prompt], weights=guidance.prompt_weights)
    rows, last = ({name: values[part] for name, values in every.items()} for part in (slice(-1), slice(-1, None)))
    return Prompts(rows, torch.tensor([position[p] for p in prompts], dtype=torch.long), last)


@torch.no_grad()
def sample(
    models: Models,
    prompts: Prompts,
    seeds: Sequence[int],
    scheduler: Scheduler,
    guidance: Guidance,
    batch_size: int = 8,
    on_batch: Callable[[int], object] = lambda done: None,
    on_step: OnStep | None = None,
    keep_text: bool = True,
    beginning: Beginning | None = None,
) -> Iterator[np.ndarray]:
    """Batches of pictures, uint8 (n, H, W, 3), in the order of `seeds`; picture i is a function of seeds[i] alone.

    beginning: the picture that all are drawn from.
    A batch that does not fit into memory is halved, and so are all that follow. Raises UserError when a picture is not
    finite, or does not fit alone.
    """
    start = 0
    while start < len(seeds):
        chosen = slice(start, start + batch_size)
        rows, unconditional = prompts.of(chosen), prompts.unconditional
        try:
            latents = denoise(
                models,
                rows,
                unconditional,
                seeds[chosen],
                scheduler,
                guidance,
                on_step=on_step,
                keep_text=keep_text,
                beginning=beginning,
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
    conditions: Conditions,
    unconditional: Conditions,
    seeds: Sequence[int],
    scheduler_config: Scheduler,
    guidance: Guidance,
    start: torch.Tensor | None = None,
    on_step: OnStep | None = None,
    keep_text: bool = True,
    picture: Picture | None = None,
    beginning: Beginning | None = None,
) -> torch.Tensor:
    """Latents (n, channels, height, width) of one batch, from n rows of conditions and one unconditional row.

    start: standard normal latents of the same shape to begin from, in place of those of `seeds`. picture: the sizes that a
    family is told which reads them; None: a whole one as large as the latents. beginning: a picture to begin from.
    """
    device, dtype = models.device, models.dtype
    scheduler = scheduler_config.start(models.schedule(), models.grid)
    # Generators live on the CPU, so that a seed gives the same picture on every device.
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    if beginning is None:
        noise = randn_tensor(models.latent_shape(len(seeds)), generator=generators, device=device, dtype=dtype)
        # Schedulers of flow matching begin with noise as it is, and hand it on so.
        latents = (noise if start is None else start.to(device, dtype)) * getattr(scheduler, "init_noise_sigma", 1.0)
        origin = Begun(latents, scheduler.timesteps, lambda latents, step: latents)
    else:
        origin = begun(models, beginning, scheduler, scheduler_config.steps, generators, dtype)
    latents = origin.latents
    scaled = getattr(scheduler, "scale_model_input", lambda inputs, timestep: inputs)
    accepted = inspect.signature(scheduler.step).parameters
    extra = {"generator": generators} if "generator" in accepted else {}
    if "eta" in accepted:
        extra["eta"] = scheduler_config.eta  # type: ignore[assignment]
    rows = {name: values.to(dtype) for name, values in conditions.items()}
    both = {name: torch.cat([unconditional[name].to(dtype).expand_as(own), own]) for name, own in rows.items()}
    height, width = (side * models.family.factor(models) for side in latents.shape[-2:])
    pictures = [picture or Picture.whole((height, width))]
    # The scheduler computes with numbers on the CPU: one read from the device would wait for it in every step.
    on_device = origin.timesteps.to(device)
    total = len(on_device)
    with models.on_device(models.family.denoiser), text_kept(models) if keep_text else contextlib.nullcontext():
        for step, timestep in enumerate(origin.timesteps):
            guided = guidance.acts_at(float(timestep))
            inputs = scaled(torch.cat([latents, latents]) if guided else latents, timestep)
            prediction = models.family.predict(models, inputs, on_device[step], both if guided else rows, pictures)
            if guided:
                prediction = guidance.combine(*prediction.chunk(2))
            latents = scheduler.step(prediction, timestep, latents, **extra, return_dict=False)[0]
            latents = origin.put_back(latents, step)
            if on_step is not None:
                on_step(step + 1, total, latents)
    return latents
