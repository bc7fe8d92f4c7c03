"""Cached latents and text states stand for the live networks, and a batch is a function of its samples alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from t2i.data.captions import caption_choice
from t2i.data.wording import CaptionRule
from t2i.models.load import Models
from t2i.models.text import tokenize
from t2i.randomness import generator
from t2i.store import Store
from t2i.training import dataset
from t2i.training.dataset import LatentSet
from t2i.training.objective import Denoiser, draw, losses, objective_of

from .conftest import Pictures, latents, pictures

CPU = torch.device("cpu")
SAMPLES = [(0, 3), (0, 7), (1, 3), (2, 0)]
DROPOUT = 0.3


@pytest.fixture
def cached(models: Models, store: Store) -> LatentSet:
    return latents(models, store, pictures("train", 10))


def everything(found: LatentSet) -> np.ndarray:
    """The moments of every picture."""
    return found.moments[range(len(found))]


def live_loss(models: Models, schedule: DDPMScheduler, epoch: int, position: int) -> float:
    """The loss of one sample from its pixels and its caption, with no cache and no batch."""
    split = pictures("train", 10)
    choice = draw(0, epoch, split.ids[position], (4, 8, 8), objective_of(models), DROPOUT)
    pixels = torch.from_numpy(split.pixels([position])).permute(0, 3, 1, 2) / 127.5 - 1
    distribution = models.vae.encode(pixels).latent_dist
    latent = (distribution.mean + distribution.std * torch.from_numpy(choice.latent_noise)) * models.vae.config[
        "scaling_factor"
    ]
    caption = caption_choice(0, epoch, split.ids[position], split.captions[position])
    states = models.text_encoder(tokenize(models, ["" if choice.drop_caption else caption]))[0]
    timestep, noise = torch.tensor([choice.timestep]), torch.from_numpy(choice.noise)[None]
    noisy = schedule.add_noise(latent, noise, timestep)
    return float((models.unet(noisy, timestep, encoder_hidden_states=states).sample - noise).pow(2).mean())


@torch.no_grad()
@pytest.mark.parametrize("text_trains", [False, True], ids=["cached text states", "text encoder trains"])
def test_cached_loss_equals_the_live_one(models: Models, store: Store, text_trains: bool) -> None:
    schedule = DDPMScheduler.from_config(models.scheduler_config)
    cached = latents(models, store, pictures("train", 10), text_trains=text_trains)
    samples = [(epoch, i) for epoch in range(3) for i in range(10)]
    data = cached.batch(samples, 0, DROPOUT, CPU, torch.float32)
    found = losses(Denoiser(models, text_trains), objective_of(models), data)
    expected = [live_loss(models, schedule, epoch, i) for epoch, i in samples]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    assert len({round(loss, 6) for loss in expected}) == len(samples)


def test_a_batch_does_not_depend_on_its_neighbours(cached: LatentSet) -> None:
    together = cached.batch(SAMPLES, 0, DROPOUT, CPU, torch.float32)
    for row, sample in enumerate(SAMPLES):
        alone = cached.batch([sample], 0, DROPOUT, CPU, torch.float32)
        for name in ("latents", "noise", "timesteps"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[row]), name
        assert torch.equal(alone.text["states"][0], together.text["states"][row])


def test_another_epoch_or_seed_draws_anew(cached: LatentSet) -> None:
    first, other_epoch = cached.batch([(0, 3), (1, 3)], 0, 0.0, CPU, torch.float32).latents
    other_seed = cached.batch([(0, 3)], 1, 0.0, CPU, torch.float32).latents[0]
    assert not torch.equal(first, other_epoch) and not torch.equal(first, other_seed)
    # two draws of one picture differ by the encoder's spread, two pictures by more
    assert (first - other_epoch).abs().mean() > 0


def test_captions_are_dropped_to_the_empty_one(models: Models, cached: LatentSet) -> None:
    empty = models.text_encoder(tokenize(models, [""]))[0][0]
    every = cached.batch([(e, i) for e in range(4) for i in range(10)], 0, 1.0, CPU, torch.float32).text["states"]
    none = cached.batch([(e, i) for e in range(4) for i in range(10)], 0, 0.0, CPU, torch.float32).text["states"]
    some = cached.batch([(e, i) for e in range(40) for i in range(10)], 0, 0.25, CPU, torch.float32).text["states"]
    assert torch.allclose(every, empty.expand_as(every), atol=1e-5)
    assert not any(torch.allclose(row, empty, atol=1e-5) for row in none)
    share = sum(torch.allclose(row, empty, atol=1e-5) for row in some) / 400
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5


def test_every_caption_of_a_picture_is_used(models: Models, store: Store) -> None:
    cached = latents(models, store, pictures("train", 3), text_trains=True)
    ids = {
        tuple(row.tolist()) for row in cached.batch([(e, 0) for e in range(20)], 0, 0.0, CPU, torch.float32).text["ids"]
    }
    assert ids == {tuple(row.tolist()) for row in tokenize(models, pictures("train", 3).captions[0])}


def test_timesteps_can_be_fixed(cached: LatentSet) -> None:
    free = cached.batch(SAMPLES, 0, 0.0, CPU, torch.float32)
    fixed = cached.batch(SAMPLES, 0, 0.0, CPU, torch.float32, timesteps=[1, 2, 3, 4])
    assert fixed.timesteps.tolist() == [1, 2, 3, 4]
    assert torch.equal(free.noise, fixed.noise) and torch.equal(free.latents, fixed.latents)


def test_networks_are_asked_once_for_one_split(
    models: Models, store: Store, cached: LatentSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("training.dataset.encode_moments", "models.families.family.Family.conditions"):
        monkeypatch.setattr(f"t2i.{name}", lambda *arguments: pytest.fail("encoded again"))
    again = latents(models, store, pictures("train", 10))
    assert np.array_equal(everything(again), everything(cached))
    assert again.states is not None and again.states.shape == cached.states.shape  # type: ignore[union-attr]


def test_a_few_pictures_cost_few_and_have_the_bits_of_many(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each count in a store of its own: nothing is taken over."""
    sizes: list[int] = []
    original = dataset.encode_moments

    def counted(models: Models, pixels: np.ndarray) -> torch.Tensor:
        sizes.append(len(pixels))
        return original(models, pixels)

    monkeypatch.setattr(dataset, "encode_moments", counted)
    many = everything(latents(models, Store(tmp_path / "many"), pictures("train", 19)))
    for count in (1, 2, 8, 9):
        sizes.clear()
        few = everything(latents(models, Store(tmp_path / str(count)), pictures("train", count)))
        np.testing.assert_array_equal(few, many[:count])
        assert sizes == [1] + [8] * -(-count // 8), "one for the shape, then by eight: at most seven are repeated"
    assert dataset._at_once((512, 512), CPU) == 2 and dataset._at_once((512, 512), torch.device("cuda")) == 8


def test_each_split_has_its_own_cache(models: Models, store: Store, cached: LatentSet) -> None:
    other = latents(models, store, pictures("held_out", 10))
    assert not np.array_equal(everything(other), everything(cached))


def test_another_model_has_its_own_cache(models: Models, store: Store, cached: LatentSet) -> None:
    models.digest = "another"
    with torch.no_grad():
        models.vae.encoder.conv_in.weight.mul_(2)
    assert not np.array_equal(everything(latents(models, store, pictures("train", 10))), everything(cached))


@torch.no_grad()
def test_without_caches_the_numbers_are_the_same(models: Models, store: Store, cached: LatentSet) -> None:
    split = pictures("train", 10)
    live = latents(models, store, split, cache_latents=False, cache_text=False)
    assert live.states is None
    samples = [(epoch, i) for epoch in range(2) for i in range(10)]
    one, two = (found.batch(samples, 0, DROPOUT, CPU, torch.float32) for found in (cached, live))
    assert torch.equal(one.noise, two.noise) and torch.equal(one.timesteps, two.timesteps)
    assert torch.allclose(one.latents, two.latents, atol=1e-5)
    assert torch.allclose(one.text["states"], two.text["states"], atol=1e-5)


def test_only_a_changed_picture_is_encoded_again(
    models: Models, store: Store, cached: LatentSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    import t2i.training.dataset as module

    split = pictures("train", 10)
    split.ids[4] = "another"  # in these pictures the id decides the pixels
    asked: list[int] = []
    encode = module._encode

    def counting(models: Models, split: object, indices: list[int], flipped: bool) -> np.ndarray:
        asked.extend(indices)
        return encode(models, split, indices, flipped)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_encode", counting)
    changed = latents(models, store, split)
    assert set(asked[1:]) == {4}  # the first call asks for the shape
    assert np.array_equal(np.delete(everything(changed), 4, 0), np.delete(everything(cached), 4, 0))
    afresh = latents(models, Store(store.root / "afresh"), split)
    assert np.array_equal(everything(changed), everything(afresh))


def test_half_of_the_pictures_are_seen_mirrored(models: Models, store: Store, cached: LatentSet) -> None:
    split = pictures("train", 10)
    both = latents(models, store, split, flip=True)
    samples = [(epoch, i) for epoch in range(20) for i in range(10)]
    seen = both.batch(samples, 0, 0.0, CPU, torch.float32).latents
    plain = cached.batch(samples, 0, 0.0, CPU, torch.float32).latents
    flips = [draw(0, epoch, split.ids[i], (4, 8, 8), objective_of(models), 0.0).flip for epoch, i in samples]
    assert [not torch.equal(a, b) for a, b in zip(seen, plain, strict=True)] == flips
    assert abs(sum(flips) / 200 - 0.5) < 4 * (0.25 / 200) ** 0.5
    k = flips.index(True)
    pixels = torch.from_numpy(split.pixels([samples[k][1]])[:, :, ::-1].copy()).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        mean = models.vae.encode(pixels).latent_dist.mean[0].numpy()
    assert both.flipped is not None
    assert np.allclose(both.flipped[[samples[k][1]]][0][:4], mean, atol=1e-5)


def test_templates_prefix_and_suffix_are_cached_in_every_wording(models: Models, store: Store) -> None:
    rule = CaptionRule(templates=["a drawing of {}", "{}, drawn"], prefix="sks ", suffix="!")
    found = latents(models, store, pictures("train", 3), captions=rule)
    captions = pictures("train", 3).captions
    assert set(found.rows) == {""} | {w for group in captions for c in group for w in rule.variants(c)}
    text = found.batch([(e, 0) for e in range(30)], 0, 0.0, CPU, torch.float32).text["states"]
    assert len({row.numpy().tobytes() for row in text}) == 4  # two captions in two wordings


def test_shuffled_tags_are_encoded_live(models: Models, store: Store) -> None:
    found = latents(models, store, pictures("train", 3), captions=CaptionRule(shuffle_tags=True))
    assert found.states is None
    expected = latents(models, store, pictures("train", 3))  # captions of these pictures have one tag only
    one, two = (each.batch([(0, 0)], 0, 0.0, CPU, torch.float32).text["states"] for each in (found, expected))
    assert torch.allclose(one, two, atol=1e-5)


class Shapes(Pictures):
    """Every third picture is wide."""

    @property
    def sizes(self) -> np.ndarray:
        return np.array([(24, 16) if i % 3 == 0 else (16, 16) for i in range(len(self))], np.int32)

    def pixels(self, indices: Sequence[int]) -> np.ndarray:
        (size,) = {tuple(self.sizes[i].tolist()) for i in indices}
        shape = (size[1], size[0], 3)
        return np.stack([generator(self.ids[i]).integers(0, 256, shape, dtype=np.uint8) for i in indices])


@pytest.mark.parametrize("cached", [True, False])
def test_pictures_of_several_shapes_are_encoded_as_they_are(models: Models, store: Store, cached: bool) -> None:
    plain = pictures("train", 7)
    split = Shapes(plain.name, plain.ids, plain.captions)
    found = latents(models, store, split, cache_latents=cached)
    wide, square = ([i for i in range(7) if (i % 3 == 0) == kind] for kind in (True, False))
    for own, shape in ((wide, (8, 12)), (square, (8, 8))):
        batch = found.batch([(0, i) for i in own], 0, 0.0, CPU, torch.float32)
        assert batch.latents.shape == (len(own), 4, *shape) == batch.noise.shape
        pixels = torch.from_numpy(split.pixels(own)).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.no_grad():
            expected = models.vae.encode(pixels).latent_dist.parameters
        assert torch.allclose(torch.from_numpy(found.moments[own]), expected, atol=1e-5)
