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

from t2i.config import compose
from t2i.errors import ConfigError, UserError
from t2i.models.config import Model
from t2i.models.families.family import Family
from t2i.models.latents import decode
from t2i.models.load import Models
from t2i.sampling.config import Guidance, Sampling, Scheduler, shipped
from t2i.sampling.sampler import denoise, encode, sample

from ..models.toy_sd3 import SHIFT

FLOWING = sorted(name for name, one in shipped().items() if one.flows)
SCHEDULERS = sorted(shipped().keys() - FLOWING)
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
    flow = {"prediction_type": "flow_prediction", "flow_shift": SHIFT} if scheduler.flows else {}
    settings = {**models.scheduler_config, **flow}
    pipeline.scheduler = getattr(diffusers, scheduler.type).from_config(settings, **scheduler.options)
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
@pytest.mark.parametrize("name", [*SCHEDULERS, *FLOWING])
def test_pictures_equal_those_of_diffusers(models: Models, flowing: Models, name: str, scale: float) -> None:
    models = flowing if name in FLOWING else models
    scheduler, guidance = configured(name), Guidance(scale=scale)
    conditions = encode(models, PROMPTS, guidance)
    latents = denoise(models, conditions.of(slice(None)), conditions.unconditional, SEEDS, scheduler, guidance)
    pictures, reference = theirs(models, scheduler, scale)
    assert torch.allclose(latents, reference, rtol=1e-4, atol=1e-4 * float(reference.abs().max()))
    assert difference(decode(models, latents).astype(int), pictures) <= TOLERANCE


def test_every_scheduler_is_of_another_kind(models: Models, flowing: Models) -> None:
    for own, names, least in ((models, SCHEDULERS, 8), (flowing, FLOWING, 4)):
        pictures = {name: ours(own, configured(name), Guidance()) for name in names}
        assert len({picture.tobytes() for picture in pictures.values()}) == len(names) >= least


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


@pytest.mark.parametrize("rescale", [0.3, 1.0])
def test_rescale_is_that_of_diffusers(models: Models, rescale: float) -> None:
    guidance = Guidance(scale=12.0, rescale=rescale)
    pictures = ours(models, DDIM, guidance)
    assert difference(pictures, theirs(models, DDIM, 12.0, guidance_rescale=rescale)[0]) <= TOLERANCE
    assert difference(pictures, ours(models, DDIM, Guidance(scale=12.0))) > TOLERANCE


def test_outside_the_interval_the_unconditional_half_is_not_computed(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    forward = models.unet.forward
    monkeypatch.setattr(
        models.unet, "forward", lambda x, *rest, **more: (sizes.append(len(x)), forward(x, *rest, **more))[1]
    )
    guidance = Guidance(scale=7.5, interval=[200.0, 600.0])
    pictures = ours(models, DDIM, guidance)  # timesteps 751, 501, 251, 1
    assert sizes == [2, 4, 4, 2]
    assert difference(pictures, ours(models, DDIM, Guidance(scale=7.5))) > TOLERANCE
    assert np.array_equal(
        ours(models, DDIM, Guidance(scale=7.5, interval=[990.0, 1000.0])), ours(models, DDIM, Guidance(1.0))
    )


@pytest.mark.parametrize("scale", [7.5, 1.0])
def test_texts_are_projected_once_and_pictures_stay_bitwise_the_same(models: Models, scale: float) -> None:
    layers = [module for name, module in models.unet.named_modules() if name.endswith(("attn2.to_k", "attn2.to_v"))]
    guidance = Guidance(scale=scale)
    conditions = encode(models, PROMPTS, guidance)
    inner = [layer.forward for layer in layers]
    made = {keep: list(sample(models, conditions, SEEDS, DDIM, guidance, keep_text=keep)) for keep in (True, False)}
    assert np.array_equal(made[True][0], made[False][0])
    assert [layer.forward for layer in layers] == inner, "the network is as it was"
    products = {keep: _projections(models, conditions, guidance, keep) for keep in (True, False)}
    assert products == {True: len(layers), False: len(layers) * STEPS}


def _projections(models: Models, conditions: Any, guidance: Guidance, keep: bool) -> int:
    """How many keys and values of texts are computed for one batch."""
    weights = {id(m.weight) for n, m in models.unet.named_modules() if n.endswith(("attn2.to_k", "attn2.to_v"))}
    count = 0
    original = torch.nn.functional.linear

    def counting(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        nonlocal count
        count += id(weight) in weights
        return original(inputs, weight, bias)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", counting)
        list(sample(models, conditions, SEEDS, DDIM, guidance, keep_text=keep))
    return count


def test_a_batch_that_does_not_fit_is_halved(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, seeds = ["a cat", "a bus", "a tree", "two cats", "a cake"], [1, 2, 3, 4, 5]
    whole = ours(models, DDIM, Guidance(), prompts, seeds, batch_size=1)
    sizes: list[int] = []
    forward = models.unet.forward

    def crowded(x: torch.Tensor, *rest: Any, **more: Any) -> Any:
        if len(x) > 4:
            raise torch.OutOfMemoryError
        sizes.append(len(x) // 2)
        return forward(x, *rest, **more)

    monkeypatch.setattr(models.unet, "forward", crowded)
    assert difference(ours(models, DDIM, Guidance(), prompts, seeds, batch_size=5), whole) <= TOLERANCE
    assert sizes[::STEPS] == [2, 2, 1]


def test_one_picture_that_does_not_fit_says_what_helps(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(models.unet, "forward", full)
    with pytest.raises(UserError, match=r"one picture at a time; use sampling\.attention_slicing=true"):
        ours(models, DDIM, Guidance(), batch_size=2)


def test_each_step_is_told_and_can_end_the_sampling(models: Models) -> None:
    told: list[tuple[int, int, tuple[int, ...]]] = []

    class Enough(Exception):
        pass

    def watch(step: int, total: int, latents: torch.Tensor) -> None:
        told.append((step, total, tuple(latents.shape)))
        if step == 3:
            raise Enough

    conditions = encode(models, PROMPTS, Guidance())
    with pytest.raises(Enough):
        list(sample(models, conditions, SEEDS, DDIM, Guidance(), on_step=watch))
    assert told == [(step, STEPS, models.latent_shape(2)) for step in (1, 2, 3)]


def test_given_latents_take_the_place_of_the_seeds(models: Models) -> None:
    conditions = encode(models, PROMPTS, Guidance())
    arguments = models, conditions.of(slice(None)), conditions.unconditional
    start = torch.cat([torch.randn(models.latent_shape(1), generator=torch.Generator().manual_seed(s)) for s in SEEDS])
    by_seed = denoise(*arguments, SEEDS, DDIM, Guidance())
    assert torch.equal(by_seed, denoise(*arguments, [0, 0], DDIM, Guidance(), start=start))


SWITCHES = [
    Sampling(channels_last=True),
    Sampling(attention_slicing=True),
    Sampling(vae_slicing=True),
    Sampling(vae_tiling=True),
    pytest.param(Sampling(compile=True), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(
    "switches", SWITCHES, ids=lambda s: next(k for k, v in vars(s).items() if v and k != "keep_text")
)
def test_switches_change_no_picture(loaded: Loader, toy: Model, models: Models, switches: Sampling) -> None:
    changed = loaded(toy)
    switches.apply(changed)
    assert difference(ours(changed, DDIM, Guidance()), ours(models, DDIM, Guidance())) <= TOLERANCE


def test_an_offloaded_network_computes_where_it_should_and_goes_back(
    loaded: Loader, toy: Model, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = loaded(toy)
    away.offloaded_from = torch.device("cpu")
    moves: list[tuple[str, str]] = []
    for name, module in away.modules.items():
        monkeypatch.setattr(module, "to", lambda device, name=name: moves.append((name, str(device))))
    assert difference(ours(away, DDIM, Guidance()), ours(models, DDIM, Guidance())) == 0
    assert moves == [(name, "cpu") for name in ("text_encoder", "unet", "vae") for _ in range(2)]


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
    rows = {"states": torch.zeros(3, 4, 24)}
    monkeypatch.setattr(Family, "conditions", lambda self, models, prompts, **how: seen.extend(prompts) or rows)
    conditions = encode(models, ["b", "a", "b", "b"], Guidance())
    assert seen == ["b", "a", None]
    assert conditions.index.tolist() == [0, 1, 0, 0] and conditions.rows["states"].shape[0] == 2


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
