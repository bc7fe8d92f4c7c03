"""Is what this project makes of a caption what plain diffusers makes of it? The pipeline shares the networks: no memory twice."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from t2i.models.check import Check
from t2i.models.families.family import Conditions, Models
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
    most = max(_difference(ours[key], theirs[key]) for key in ours)
    limit = max(tolerance(rows.dtype) for rows in ours.values())
    return Check(name, f"difference <= {limit:g}", f"{most:.2g}", most <= limit)


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest, relative to the largest value."""
    scale = float(theirs.float().abs().max()) or 1.0
    return float((ours.float() - theirs.float().to(ours.device)).abs().max()) / scale


@torch.no_grad()
def latents(models: Models) -> Iterator[Check]:
    """A few guided steps of ours and of the pipeline, from the same seed, under two schedulers."""
    factor = models.family.factor(models)
    small = replace(models, resolution=min(models.resolution, MOST * factor))
    for kind in models.family.schedulers:
        scheduler, guidance = Scheduler(name=kind, type=kind, steps=STEPS), Guidance(scale=SCALE)
        prompts = encode(small, CAPTIONS[:1], guidance)
        ours = denoise(small, prompts.of(slice(None)), prompts.unconditional, [SEED], scheduler, guidance)
        pipeline = small.pipeline()
        pipeline.scheduler = scheduler.build(small.schedule())
        pipeline.set_progress_bar_config(disable=True)
        theirs = pipeline(
            CAPTIONS[0],
            num_inference_steps=STEPS,
            guidance_scale=SCALE,
            height=small.resolution,
            width=small.resolution,
            generator=torch.Generator("cpu").manual_seed(SEED),
            output_type="latent",
        ).images
        name = f"latents of {STEPS} steps of {kind.removesuffix('Scheduler')}, as the pipeline's"
        yield _equal(name, {"latents": ours}, {"latents": theirs})
