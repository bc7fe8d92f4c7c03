"""Drawing that begins from a picture gives the bits of diffusers' own pipelines for it, under every scheduler."""

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from t2i.config import CONF, compose
from t2i.errors import ConfigError
from t2i.models.families.registry import FAMILIES
from t2i.models.load import Models, load
from t2i.randomness import generator
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.given import Beginning
from t2i.sampling.sampler import denoise, encode, sample
from t2i.store import Store

from ..models.test_families import TOYS

SCHEDULERS = sorted(path.stem for path in (CONF / "scheduler").glob("*.yaml") if "flow" not in path.stem)
PROMPT, STEPS = "a red cat beside a tree", 6


def picture(side: int) -> np.ndarray:
    return generator("a picture").integers(0, 256, (side, side, 3), dtype=np.uint8)


def half(side: int) -> np.ndarray:
    """The left half is drawn anew."""
    mask = np.zeros((side, side), bool)
    mask[:, : side // 2] = True
    return mask


def ours(models: Models, beginning: Beginning, scheduler: Scheduler, scale: float, seeds: list[int]) -> torch.Tensor:
    guidance = Guidance(scale=scale)
    prompts = encode(models, [PROMPT] * len(seeds), guidance)
    return denoise(
        models, prompts.of(slice(None)), prompts.unconditional, seeds, scheduler, guidance, beginning=beginning
    )


def theirs(models: Models, beginning: Beginning, scheduler: Scheduler, scale: float, seed: int) -> torch.Tensor:
    name = models.family.begins["mask" if beginning.mask is not None else "image"]
    plain = models.pipeline()
    own = {
        key: value
        for key, value in plain.config.items()
        if key in ("requires_safety_checker", "force_zeros_for_empty_prompt")
    }
    pipeline = getattr(diffusers, name)(**plain.components, **own)
    pipeline.scheduler = scheduler.build(models.schedule())
    pipeline.set_progress_bar_config(disable=True)
    options: dict[str, Any] = {"eta": scheduler.eta}
    if beginning.mask is not None:
        side = models.resolution
        options |= {"mask_image": Image.fromarray(beginning.mask), "height": side, "width": side}
    latents: torch.Tensor = pipeline(
        PROMPT,
        image=Image.fromarray(beginning.pixels),
        strength=beginning.strength,
        num_inference_steps=scheduler.steps,
        guidance_scale=scale,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="latent",
        **options,
    ).images
    return latents


@pytest.mark.parametrize("masked", [False, True], ids=["image", "mask"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_it_is_the_pipelines_to_the_last_bit(models: Models, name: str, masked: bool) -> None:
    scheduler = compose([f"scheduler={name}", f"scheduler.steps={STEPS}"]).scheduler
    mask = half(models.resolution) if masked else None
    for strength, scale in ((0.4, 5.0), (0.75, 1.0), (1.0, 5.0)):
        beginning = Beginning(picture(models.resolution), strength, mask)
        told = ours(models, beginning, scheduler, scale, [3])
        assert (told - theirs(models, beginning, scheduler, scale, 3)).abs().max() == 0, (strength, scale)


@pytest.mark.parametrize("masked", [False, True], ids=["image", "mask"])
@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.begins])
def test_every_family_that_can_begins_as_its_pipelines_do(name: str, masked: bool, tmp_path: Path) -> None:
    models = load(TOYS[name](tmp_path / "model"), Store(tmp_path / "store"))
    mask = half(models.resolution) if masked else None
    for kind in (*models.family.schedulers, "EulerAncestralDiscreteScheduler"):
        scheduler = Scheduler(kind, kind, STEPS)
        for strength, scale in ((0.5, 5.0), (1.0, 1.0)):
            beginning = Beginning(picture(models.resolution), strength, mask)
            told = ours(models, beginning, scheduler, scale, [3])
            difference = (told - theirs(models, beginning, scheduler, scale, 3)).abs()
            # Texts are encoded in another batch here; what is not drawn anew knows nothing of them.
            assert difference.max() < 1e-5, (kind, strength)
            assert not masked or difference[..., difference.shape[-1] // 2 :].max() == 0


def test_a_picture_depends_on_its_own_seed_alone(models: Models) -> None:
    scheduler = Scheduler("ddim", "DDIMScheduler", STEPS)
    beginning = Beginning(picture(models.resolution), 0.6, half(models.resolution))
    together = ours(models, beginning, scheduler, 5.0, [3, 4])
    alone = ours(models, beginning, scheduler, 5.0, [4])
    assert (together[1] - alone[0]).abs().max() < 1e-5 and (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
def test_what_the_mask_leaves_out_keeps_its_latents(models: Models, strength: float) -> None:
    """Behind the last step they are the picture's own: whatever the strength and the prompt, two runs agree there."""
    scheduler, side = Scheduler("euler", "EulerDiscreteScheduler", STEPS), models.resolution
    found = [
        ours(models, Beginning(picture(side), strength, half(side)), scheduler, scale, [3])[0] for scale in (1.0, 9.0)
    ]
    middle = found[0].shape[-1] // 2
    assert torch.equal(found[0][..., middle:], found[1][..., middle:])
    assert not torch.equal(found[0][..., :middle], found[1][..., :middle])


def test_less_strength_stays_nearer_to_the_picture(models: Models) -> None:
    scheduler, guidance = Scheduler("ddim", "DDIMScheduler", 10), Guidance(scale=1.0)
    prompts, given = encode(models, [PROMPT], guidance), picture(models.resolution)
    drawn = [
        next(sample(models, prompts, [0], scheduler, guidance, beginning=Beginning(given, strength)))[0]
        for strength in (0.1, 0.5, 1.0)
    ]
    plain = next(sample(models, prompts, [0], scheduler, guidance))[0]
    near, half_way, far = (np.abs(one.astype(int) - drawn[0]).mean() for one in (drawn[0], drawn[1], drawn[2]))
    assert near == 0 < half_way < far and not np.array_equal(drawn[2], plain)


def test_too_little_strength_is_one_sentence(models: Models) -> None:
    with pytest.raises(ConfigError, match=r"strength=0\.1 of 6 steps leaves none; use 10 steps or more"):
        ours(models, Beginning(picture(16), 0.1), Scheduler("ddim", "DDIMScheduler", STEPS), 1.0, [0])


def test_a_family_that_draws_from_noise_alone_is_refused_by_name() -> None:
    from t2i.models.families.sd3 import StableDiffusion3

    with pytest.raises(
        ConfigError, match=r"^image= begins from a picture, and models of Stable Diffusion 3 and 3\.5 draw"
    ):
        StableDiffusion3().require_beginning(False)
    for family in FAMILIES.values():
        assert all(hasattr(diffusers, name) for name in family.begins.values())
