"""The sampler draws what diffusers' StableDiffusionPipeline draws, and a picture depends on its own seed alone.

Tolerance: 1 of 255 grey levels, where two roundings of nearly equal numbers fall apart.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from t2i.config import CONF, compose
from t2i.errors import ConfigError, UserError
from t2i.models.config import Model
from t2i.models.latents import decode
from t2i.models.load import Models
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.sampler import denoise, encode, sample

SCHEDULERS = sorted(path.stem for path in (CONF / "scheduler").glob("*.yaml"))
PROMPTS = ["a red cat beside a tree", "two buses"]
SEEDS = [3, 70_000_000_000]
STEPS = 4
TOLERANCE = 1
DDIM = Scheduler(name="ddim", type="DDIMScheduler", steps=STEPS)


Loader = Callable[[Model], Models]


@functools.cache
def configured(name: str) -> Scheduler:
    """The scheduler of a file in conf/scheduler with few steps."""
    return compose([f"scheduler={name}", f"scheduler.steps={STEPS}"]).scheduler


def ours(
    models: Models,
    scheduler: Scheduler,
    guidance: Guidance,
    prompts: Sequence[str] = PROMPTS,
    seeds: Sequence[int] = SEEDS,
    batch_size: int = 8,
) -> np.ndarray:
    """uint8 (N, H, W, 3) as int, so that differences do not wrap."""
    batches = sample(models, encode(models, prompts, guidance), seeds, scheduler, guidance, batch_size)
    return np.concatenate(list(batches)).astype(int)


def theirs(models: Models, scheduler: Scheduler, guidance: float, **options: Any) -> tuple[np.ndarray, torch.Tensor]:
    """Pictures (grey levels) and last latents of the plain diffusers pipeline for PROMPTS and SEEDS."""
    pipeline = models.pipeline()
    pipeline.scheduler = getattr(diffusers, scheduler.type).from_config(models.scheduler_config, **scheduler.options)
    pipeline.set_progress_bar_config(disable=True)
    latents: list[torch.Tensor] = []

    def keep(pipeline: Any, step: int, timestep: int, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        latents.append(tensors["latents"])
        return tensors

    images = pipeline(
        PROMPTS,
        num_inference_steps=scheduler.steps,
        guidance_scale=guidance,
        height=models.resolution,
        width=models.resolution,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in SEEDS],
        output_type="np",
        callback_on_step_end=keep,
        **options,
    ).images
    # rounded as diffusers' own conversion to PIL rounds
    return (images * 255).round().astype(int), latents[-1]


def difference(left: np.ndarray, right: np.ndarray) -> int:
    assert left.shape == right.shape and left.std() > 5, "pictures without contrast would prove nothing"
    return int(np.abs(left - right).max())


@pytest.mark.parametrize("scale", [7.5, 1.0])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_pictures_equal_those_of_diffusers(models: Models, name: str, scale: float) -> None:
    scheduler, guidance = configured(name), Guidance(scale=scale)
    conditions = encode(models, PROMPTS, guidance)
    latents = denoise(models, conditions.states, conditions.empty, SEEDS, scheduler, guidance)
    pictures, reference = theirs(models, scheduler, scale)
    assert torch.allclose(latents, reference, rtol=1e-4, atol=1e-4 * float(reference.abs().max()))
    assert difference(decode(models, latents).astype(int), pictures) <= TOLERANCE


def test_every_scheduler_is_of_another_kind(models: Models) -> None:
    pictures = {name: ours(models, configured(name), Guidance()) for name in SCHEDULERS}
    assert len(SCHEDULERS) >= 8
    assert len({picture.tobytes() for picture in pictures.values()}) == len(SCHEDULERS)


def test_bundled_model_is_sampled_as_diffusers_samples_it(loaded: Loader) -> None:
    models = loaded(compose(["model=tiny"]).model)
    pictures = ours(models, DDIM, Guidance())
    assert pictures.shape == (2, models.resolution, models.resolution, 3)
    assert difference(pictures, theirs(models, DDIM, 7.5)[0]) <= TOLERANCE


def test_half_precision_follows_diffusers_too(toy: Model, loaded: Loader) -> None:
    models = loaded(toy).to("cpu", torch.bfloat16)
    reference, _ = theirs(models, DDIM, 7.5)
    assert difference(ours(models, DDIM, Guidance()), reference) <= TOLERANCE


def test_negative_prompt_takes_the_place_of_the_empty_one(models: Models) -> None:
    guidance = Guidance(scale=7.5, negative_prompt="blurry drawing")
    pictures = ours(models, DDIM, guidance)
    reference, _ = theirs(models, DDIM, 7.5, negative_prompt=["blurry drawing"] * 2)
    assert difference(pictures, reference) <= TOLERANCE
    assert not np.array_equal(pictures, ours(models, DDIM, Guidance(scale=7.5)))
    off = Guidance(scale=1.0, negative_prompt="blurry drawing")
    assert np.array_equal(ours(models, DDIM, off), ours(models, DDIM, Guidance(scale=1.0)))


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_eta_adds_the_noise_that_diffusers_adds(models: Models, eta: float) -> None:
    scheduler = Scheduler(name="ddim", type="DDIMScheduler", steps=STEPS, eta=eta)
    pictures = ours(models, scheduler, Guidance())
    assert difference(pictures, theirs(models, scheduler, 7.5, eta=eta)[0]) <= TOLERANCE
    assert not np.array_equal(pictures, ours(models, DDIM, Guidance()))


def test_schedulers_without_eta_ignore_it(models: Models) -> None:
    plain = configured("euler")
    noisy = replace(plain, eta=1.0)
    assert np.array_equal(ours(models, plain, Guidance()), ours(models, noisy, Guidance()))


@pytest.mark.parametrize("name", ["ddim", "euler_a", "ddpm"])
def test_a_picture_depends_on_its_own_seed_and_not_on_the_batch(models: Models, name: str) -> None:
    prompts, seeds = [*PROMPTS, "a cat", "a bus", PROMPTS[0]], [5, 6, 7, 8, 9]
    scheduler = configured(name)
    together = ours(models, scheduler, Guidance(), prompts, seeds, batch_size=4)
    alone = ours(models, scheduler, Guidance(), prompts, seeds, batch_size=1)
    assert difference(together, alone) <= TOLERANCE
    backwards = ours(models, scheduler, Guidance(), prompts[::-1], seeds[::-1], batch_size=4)[::-1]
    assert difference(together, backwards) <= TOLERANCE
    assert not np.array_equal(alone[0], alone[4]), "one prompt, two seeds"


def test_prompts_are_encoded_once_each(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    states = torch.zeros(3, 4, 24)
    monkeypatch.setattr("t2i.sampling.sampler.text_states", lambda models, prompts: seen.extend(prompts) or states)
    conditions = encode(models, ["b", "a", "b", "b"], Guidance())
    assert seen == ["b", "a", ""]
    assert conditions.index.tolist() == [0, 1, 0, 0] and conditions.states.shape[0] == 2


def test_progress_counts_pictures(models: Models) -> None:
    done: list[int] = []
    conditions = encode(models, ["a cat"] * 5, Guidance(scale=1))
    one_step = Scheduler(type="DDIMScheduler", steps=1)
    list(sample(models, conditions, range(5), one_step, Guidance(scale=1), 2, done.append))
    assert done == [2, 2, 1]


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_are_not_finite_are_refused(toy: Model, loaded: Loader, part: str) -> None:
    models = loaded(toy)
    with torch.no_grad():
        list(models.modules[part].parameters())[-1].fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        ours(models, DDIM, Guidance())


def test_unknown_scheduler_is_refused(models: Models) -> None:
    for kind in ("DDIMSheduler", "UNet2DConditionModel", "FancyScheduler"):
        with pytest.raises(ConfigError, match=rf"scheduler\.type={kind} is no scheduler"):
            Scheduler(type=kind).build(models.scheduler_config)
