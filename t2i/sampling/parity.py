"""Is what this project makes of a caption what plain diffusers makes of it? The pipeline shares the networks: no memory twice."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from t2i.models.check import Check
from t2i.models.families.family import Conditions
from t2i.models.families.picture import Picture
from t2i.models.latents import decode
from t2i.models.parts import Models
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.sampler import denoise, encode

CAPTIONS = ("a red bus on a street", "two cats")
SEED, STEPS, SCALE = 0, 3, 5.0
MOST = 8
"""Latents in each direction of the pictures that are compared: enough for every level of a U-Net, and quick at full size."""


def tolerance(dtype: torch.dtype) -> float:
    """Of a relative difference: a few roundings."""
    return 1e-4 if dtype == torch.float32 else 2e-2


@torch.no_grad()
def conditions(models: Models) -> Iterator[Check]:
    """What the denoiser reads of a caption, and of no negative prompt, is what the pipeline gives it."""
    theirs, none = models.family.encoded(models.pipeline(), CAPTIONS)
    ours = models.family.conditions(models, list(CAPTIONS))
    own = models.family.unconditional(models)
    yield _equal("conditions of captions, as the pipeline has them", ours, theirs)
    yield _equal("unconditional, as without a negative prompt", own, {name: rows[:1] for name, rows in none.items()})


def _equal(name: str, ours: Conditions, theirs: Conditions) -> Check:
    shapes = [{key: tuple(rows.shape) for key, rows in side.items()} for side in (ours, theirs)]
    if shapes[0] != shapes[1]:
        return Check(name, str(shapes[1]), str(shapes[0]), False)
    most = float(np.max([_difference(ours[key], theirs[key]) for key in ours]))  # not a number stays that
    limit = max(tolerance(rows.dtype) for rows in ours.values())
    return Check(name, f"difference <= {limit:g}", f"{most:.2g}", most <= limit)


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest, relative to the largest value."""
    scale = float(theirs.float().abs().max()) or 1.0
    return float((ours.float() - theirs.float().to(ours.device)).abs().max()) / scale


@torch.no_grad()
def pictures(models: Models) -> Iterator[Check]:
    """A few guided steps of ours and of the pipeline, from the same seed, under two schedulers: latents and what they become."""
    small = replace(models, resolution=min(models.resolution, MOST * models.family.factor(models)))
    guidance = Guidance(scale=SCALE)
    prompts = encode(small, CAPTIONS[:1], guidance)
    side = small.resolution
    shown = Picture((2 * side, 3 * side), (side // 4, side), (side, side))  # six numbers, none of them another's
    for kind in models.family.schedulers:
        scheduler = Scheduler.by_class(kind, small.schedule(), STEPS)
        ours = denoise(
            small, prompts.of(slice(None)), prompts.unconditional, [SEED], scheduler, guidance, picture=shown
        )
        latents, picture = _theirs(small, scheduler, shown)
        told = f"{STEPS} steps of {kind.removesuffix('Scheduler')}, as the pipeline's"
        yield _equal(f"latents of {told}", {"latents": ours}, {"latents": latents})
        grey = float(np.abs(decode(small, ours)[0].astype(float) - picture).max())
        most = 1 if ours.dtype == torch.float32 else 3
        yield Check(f"picture of {told}", f"within {most} of 255", f"{grey:g}", grey <= most)


def _theirs(models: Models, scheduler: Scheduler, shown: Picture) -> tuple[torch.Tensor, np.ndarray]:
    """Last latents and picture (H, W, 3) in grey levels of the pipeline."""
    pipeline = models.pipeline()
    pipeline.scheduler = scheduler.build(models.schedule())
    pipeline.set_progress_bar_config(disable=True)
    kept: dict[str, torch.Tensor] = {}

    def keep(pipeline: Any, step: int, time: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        kept.update(tensors)
        # diffusers decodes with an autoencoder of another dtype on some devices only
        return {"latents": tensors["latents"].to(pipeline.vae.dtype)} if step + 1 == pipeline.num_timesteps else tensors

    picture = pipeline(
        prompt=CAPTIONS[0],
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        height=models.resolution,
        width=models.resolution,
        generator=torch.Generator("cpu").manual_seed(SEED),
        output_type="np",
        callback_on_step_end=keep,
        **models.family.told(shown),
    ).images[0]
    return models.family.spread(models, kept["latents"]), (picture * 255).round()


@torch.no_grad()
def autoencoder(models: Models) -> Iterator[Check]:
    """Latents are scaled for training as they are scaled back for drawing: a picture's, decoded, are what the autoencoder
    itself makes of them.
    """
    shape = models.family.latent_shape(replace(models, resolution=MOST * models.family.factor(models)), 1)
    noise = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(SEED)).to(models.device, models.dtype)
    images = models.family.decode(models, noise).clamp(-1, 1).to(next(models.vae.parameters()).dtype)
    moments = models.family.encode(models, images)
    ours = models.family.decode(models, models.family.latents(models, moments, torch.zeros_like(noise)))
    theirs = models.vae.decode(models.vae.encode(images).latent_dist.mode(), return_dict=False)[0]
    yield _equal("latents that are trained on, decoded as drawn ones", {"pictures": ours}, {"pictures": theirs})
