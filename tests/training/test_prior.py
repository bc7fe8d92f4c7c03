"""A prior's loss against one that is written out, its pairing against planted mistakes, and how exact its trainings are."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

from t2i.data.base import Dataset
from t2i.data.captions import caption_choice
from t2i.errors import ConfigError
from t2i.interruption import Interrupted
from t2i.models.config import Model
from t2i.models.load import Models
from t2i.models.text import tokenize
from t2i.training.config import CaptionRule, Optimizer, Prior
from t2i.training.fitting import refuse_prior, refuse_shards, regularisation_captions
from t2i.training.loop import Trainer
from t2i.training.lora import Lora
from t2i.training.objective import Batch, draw, objective_of
from t2i.training.text_adapter import TextAdapter

from ..models import toy_sd3
from ..models.toy import write, write_sd2, write_sdxl
from . import conftest
from .conftest import CLASS, RATE, STRATEGIES, Start, latents, log_of, pictures, training
from .processes import in_processes
from .test_loop import equal, interrupt_after, weights

DROPOUT, WEIGHT = 0.3, 0.7
BASE = training(steps=4, prior=Prior.base, prior_weight=WEIGHT, prior_share=0.5, caption_dropout=DROPOUT, save_every=2)
HELD = {name: strategy for name, strategy in STRATEGIES.items() if name not in ("text_adapter", "textual_inversion")}
WRITERS: dict[str, Callable[[Path], Model]] = {
    "noise": write, "velocity": write_sd2, "flow": toy_sd3.write, "two encoders": write_sdxl,
}  # fmt: skip
SIDES = {"two encoders": 64, "flow": 16}


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """The toy of a kind, written once."""
    made: dict[str, Model] = {}

    def of(kind: str) -> Model:
        if kind not in made:
            made[kind] = WRITERS[kind](tmp_path_factory.mktemp("priors") / kind.replace(" ", "_"))
        return made[kind]

    return of


@pytest.fixture
def toy(request: pytest.FixtureRequest, written: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch) -> Model:
    """What the fixtures of this file train: the kind that a test is given, or Stable Diffusion 1's."""
    kind = getattr(request, "param", "noise")
    monkeypatch.setattr(conftest, "RESOLUTION", SIDES.get(kind, conftest.RESOLUTION))
    return written(kind)


def disturbed(trainer: Trainer) -> Trainer:
    """As if it had trained for long."""
    with torch.no_grad():
        for number, parameter in enumerate(trainer.parameters.values()):
            g = torch.Generator().manual_seed(number)
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=g))
    return trainer


def first_batch(trainer: Trainer) -> list[tuple[int, int]]:
    return next(iter(trainer.train_set.batches(0)))


# -- the formula ----------------------------------------------------------------------------------------------------------


def sample(models: Models, key: str, name: str, epoch: int, captions: list[str]) -> Iterator[Any]:
    """Noisy latents, time, states and noise of one sample, from its pixels and its caption, in calls of diffusers alone.

    key: what its choices follow from. name: whose pixels.
    """
    split, schedule = pictures("train", 10), DDPMScheduler.from_config(models.scheduler_config)
    choice = draw(0, epoch, key, (4, 8, 8), objective_of(models), DROPOUT)
    pixels = torch.from_numpy(split.pixels([split.ids.index(name)])).permute(0, 3, 1, 2) / 127.5 - 1
    distribution = models.vae.encode(pixels).latent_dist
    scale = models.vae.config["scaling_factor"]
    latent = scale * (distribution.mean + distribution.std * torch.from_numpy(choice.latent_noise))
    caption = "" if choice.drop_caption else caption_choice(0, epoch, key, captions)
    time, noise = torch.tensor([choice.timestep]), torch.from_numpy(choice.noise)[None]
    yield schedule.add_noise(latent, noise, time)
    yield time
    yield tokenize(models, [caption])
    yield noise if schedule.config["prediction_type"] == "epsilon" else schedule.get_velocity(latent, noise, time)


def written_out(tuned: Models, base: Models, batch: list[tuple[int, int]], count: int) -> torch.Tensor:
    """mean |tuned - target|^2 over the data + weight * mean |tuned - base|^2 over the prior's samples."""
    split, held, data = pictures("train", 10), [], []
    for epoch, i in batch:
        of_prior = i >= count
        name = split.ids[i % count]
        captions = CLASS if of_prior else split.captions[i]
        noisy, time, ids, target = sample(base, f"prior/{name}" if of_prior else name, name, epoch, captions)
        ours = tuned.unet(noisy, time, encoder_hidden_states=tuned.text_encoder(ids)[0]).sample
        if of_prior:
            with torch.no_grad():
                target = base.unet(noisy, time, encoder_hidden_states=base.text_encoder(ids)[0]).sample
        (held if of_prior else data).append((ours - target).square().mean())
    return torch.stack(data).mean() + WEIGHT * torch.stack(held).mean()


@pytest.mark.parametrize("share", [0.5, 0.25])
@pytest.mark.parametrize(("toy", "name"), [("noise", n) for n in ("lora", "attn2_to_v", "both")] + [("velocity", "lora")],
                         indirect=["toy"])  # fmt: skip
def test_loss_and_gradient_are_those_of_a_loop_that_is_written_out(
    start: Start, toy: Model, loaded: Callable[[Model], Models], name: str, share: float
) -> None:
    trainer = disturbed(start(STRATEGIES[name], replace(BASE, prior_share=share)))
    batch, base = first_batch(trainer), loaded(toy)
    assert sum(i >= 10 for _, i in batch) == round(4 * share) and len(batch) == 4
    found = trainer._accumulate(0, batch, 3).detach()
    own = {key: parameter.grad.clone() for key, parameter in trainer.parameters.items() if parameter.grad is not None}
    for parameter in trainer.parameters.values():
        parameter.grad = None
    expected = written_out(trainer.models, base, batch, 10)
    expected.backward()
    assert float(found) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert own.keys() == trainer.parameters.keys()
    for key, parameter in trainer.parameters.items():
        torch.testing.assert_close(own[key], parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("toy", ["noise"], indirect=True)
def test_class_pictures_are_learned_as_pictures_are_at_their_weight(
    start: Start, toy: Model, loaded: Callable[[Model], Models]
) -> None:
    """The classic loss: both halves have the noise as their target."""
    trainer = disturbed(start(Lora(learning_rate=RATE), replace(BASE, prior=Prior.pictures)))
    batch = first_batch(trainer)
    whole = float(trainer._accumulate(0, batch, 4).detach())
    held, data = [s for s in batch if s[1] >= 10], [s for s in batch if s[1] < 10]
    plain = latents(loaded(toy), trainer.run.store, pictures("class", 6), cache_text=False)
    plain.ids, plain.captions = [f"prior/{key}" for key in plain.ids], [[CLASS[i % 3]] for i in range(6)]
    plain.rows, plain.states = trainer.train_set.own.rows, trainer.train_set.own.states  # type: ignore[union-attr]
    means = []
    for own, part in ((trainer.train_set.own, data), (plain, [(e, i - 10) for e, i in held])):  # type: ignore[union-attr]
        found = own.batch(part, 0, DROPOUT, torch.device("cpu"), torch.float32)
        noisy = trainer.objective.noisy(found.latents, found.noise, found.timesteps)
        ours = trainer.models.unet(noisy, found.timesteps, encoder_hidden_states=found.text["states"]).sample
        means.append(float((ours - found.noise).square().mean().detach()))
    assert whole == pytest.approx(means[0] + WEIGHT * means[1], rel=1e-5)


# -- pairing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("toy", WRITERS, indirect=True)
def test_an_untrained_model_is_its_own_prior_for_every_objective_and_family(start: Start, toy: Model) -> None:
    """The first step's prior loss is rounding: same noise, time, caption and sizes on both sides."""
    trainer = start(Lora(learning_rate=RATE), replace(BASE, steps=2, caption_dropout=0.0))
    trainer.fit()
    first, second = (float(row["prior_loss"]) for row in log_of(trainer))
    assert first < 1e-10 and second > 1e-7  # batches of another size may be added up in another order


@pytest.mark.parametrize("name", HELD)
def test_an_untrained_model_is_its_own_prior_for_every_strategy(start: Start, name: str) -> None:
    trainer = start(STRATEGIES[name], replace(BASE, steps=2))
    trainer.fit()
    first, second = (float(row["prior_loss"]) for row in log_of(trainer))
    assert first < 1e-10 and second > 1e-7  # as above: on some processors the same bits, on others not


def rolled(batch: Batch, part: str) -> Batch:
    """With another sample's time, or text, for each of the prior's."""
    value = getattr(batch, part)
    if isinstance(value, dict):
        return replace(batch, **{part: {name: rows.roll(1, 0) for name, rows in value.items()}})
    return replace(batch, **{part: value.roll(1, 0)})


@pytest.mark.parametrize("planted", ["time", "caption", "noise"])
def test_a_wrong_pairing_would_be_seen(start: Start, monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    trainer = start(Lora(learning_rate=RATE), replace(BASE, steps=1, prior_share=0.75, caption_dropout=0.0))
    right: Callable[..., torch.Tensor] = trainer.base  # type: ignore[assignment]

    def wrong(noisy: torch.Tensor, batch: Batch, target: torch.Tensor) -> torch.Tensor:
        if planted == "noise":
            return right(torch.cat([noisy[: batch.prior].roll(1, 0), noisy[batch.prior :]]), batch, target)
        return right(noisy, rolled(batch, {"time": "timesteps", "caption": "text"}[planted]), target)

    monkeypatch.setattr(trainer, "base", wrong)
    trainer.fit()
    assert float(log_of(trainer)[0]["prior_loss"]) > 1e-6


@pytest.mark.parametrize("kind", list(Prior))
def test_a_sample_is_a_function_of_its_key_whatever_stands_beside_it(start: Start, kind: Prior) -> None:
    trainer = start(Lora(learning_rate=RATE), replace(BASE, prior=kind))
    cpu, seen = torch.device("cpu"), []
    for batch in (first_batch(trainer), first_batch(trainer)[:1], [(0, 3), *first_batch(trainer)[:1]]):
        found = trainer.train_set.batch(batch, 0, DROPOUT, cpu, torch.float32)
        rows = (found.latents, found.noise, found.timesteps, found.text["states"])
        seen.append([row[0] for row in rows])
        assert found.prior == sum(i >= 10 for _, i in batch) > 0
    for other in seen[1:]:
        assert all(torch.equal(left, right) for left, right in zip(seen[0], other, strict=True))


def test_a_prior_has_choices_of_its_own_and_no_wording_of_the_subject(start: Start) -> None:
    config = replace(BASE, captions=CaptionRule(prefix="sks "), caption_dropout=0.0)
    trainer = start(STRATEGIES["text_encoder"], config)
    own, prior = trainer.train_set.own, trainer.train_set.prior  # type: ignore[union-attr]
    assert {prior._caption(0, epoch, i) for epoch in range(4) for i in range(10)} == set(CLASS)
    assert own._caption(0, 0, 0).startswith("sks ")
    pair = trainer.train_set.batch([(0, 10 + 4), (0, 4)], 0, 0.0, torch.device("cpu"), torch.float32)
    assert not torch.equal(pair.noise[0], pair.noise[1]) and pair.timesteps[0] != pair.timesteps[1]


def test_batches_hold_their_share_and_every_picture_comes_as_often(start: Start) -> None:
    trainer = start(Lora(learning_rate=RATE), replace(BASE, batch_size=8, prior_share=0.25))
    batches = list(itertools.islice(trainer.train_set.batches(0), 10))
    held = [[s for s in batch if s[1] >= 10] for batch in batches]
    assert {len(part) for part in held} == {2}
    assert sorted(i for part in held for _, i in part) == sorted([*range(10, 20)] * 2)
    data = [i for batch in batches for _, i in batch if i < 10]
    assert sorted(data) == sorted([*range(10)] * 6)
    assert batches[3:] == list(itertools.islice(trainer.train_set.batches(3), 7))
    assert replace(trainer.config, epochs=3.0).total_steps(10) == 5, "an epoch is of the data: 30 pictures, 6 a step"


# -- exactness ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [(Prior.base, "lora"), (Prior.base, "both"), (Prior.pictures, "unet")])
def test_an_interrupted_training_is_bitwise_the_uninterrupted_one(
    start: Start, monkeypatch: pytest.MonkeyPatch, kind: Prior, name: str
) -> None:
    config = replace(BASE, prior=kind, save_every=1000, ema=0.9)
    whole = start(STRATEGIES[name], config, "whole")
    whole.fit()
    first = start(STRATEGIES[name], config, "parts")
    interrupt_after(first, 2, monkeypatch)
    with pytest.raises(Interrupted):
        first.fit()
    first.run.pending_signal = 0
    again = start(STRATEGIES[name], config, "parts")
    again.fit()
    assert equal(weights(again), weights(whole))
    keys = ("step", "loss", "prior_loss", "gradient_norm", "samples")
    rows = [[[row[key] for key in keys] for row in log_of(trainer)] for trainer in (again, whole)]
    assert rows[0] == rows[1] and len(rows[0]) == 4


def finished(trainer: Trainer) -> None:
    trainer.fit()
    if trainer.run.main:
        save_file(
            {k: v.detach().contiguous() for k, v in trainer.parameters.items()}, trainer.folder / "end.safetensors"
        )


@pytest.mark.parametrize("name", ["lora", "unet"])
def test_two_processes_train_as_one_and_exactly_when_interrupted(start: Start, tmp_path: Path, name: str) -> None:
    config = replace(BASE, batch_size=6, prior_share=0.34, optimizer=Optimizer.sgd, save_every=1000)
    finished(start(STRATEGIES[name], config, "one"))

    def interrupted() -> None:
        trainer = start(STRATEGIES[name], config, "parts")
        step, count = trainer._step, itertools.count(1)

        def stepping(*arguments: Any) -> Any:
            if next(count) == 2:
                trainer.run.pending_signal = 15
            return step(*arguments)

        trainer._step = stepping  # type: ignore[method-assign]
        with pytest.raises(Interrupted):
            trainer.fit()
        trainer.run.pending_signal = 0

    assert in_processes(2, lambda: finished(start(STRATEGIES[name], config, "two"))) == [0, 0]
    assert in_processes(2, interrupted) == [0, 0]
    assert in_processes(2, lambda: finished(start(STRATEGIES[name], config, "parts"))) == [0, 0]
    one, two, parts = (load_file(tmp_path / folder / "end.safetensors") for folder in ("one", "two", "parts"))
    assert equal(two, parts)
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["lora", "unet"])
def test_the_base_is_the_model_wherever_the_training_goes_on(start: Start, name: str) -> None:
    """Of a checkpoint it is not: its weights are tuned already."""
    config = replace(BASE, milestones=[2])
    whole = start(STRATEGIES[name], config, "whole")
    whole.fit()
    other = start(
        STRATEGIES[name], replace(config, resume=str(whole.folder / "checkpoints" / "step_00000002")), "other"
    )
    other.fit()
    assert equal(weights(other), weights(whole))


def test_nothing_is_left_switched_off(start: Start) -> None:
    trainer = disturbed(start(Lora(learning_rate=RATE, dropout=0.5), BASE))
    before = weights(trainer)
    data = trainer.train_set.batch(first_batch(trainer), 0, 0.0, torch.device("cpu"), torch.float32)
    noisy = trainer.objective.noisy(data.latents, data.noise, data.timesteps)
    assert trainer.base is not None
    trainer.base(noisy, data, data.noise)
    assert equal(before, weights(trainer)) and trainer.module.training
    assert all(p.requires_grad for p in trainer.parameters.values())
    from peft.tuners.lora.layer import LoraLayer

    layers = [layer for layer in trainer.models.unet.modules() if isinstance(layer, LoraLayer)]
    assert layers and not any(layer.disable_adapters for layer in layers)


# -- what it is for -------------------------------------------------------------------------------------------------------


def test_what_the_prior_is_of_moves_less(start: Start, loaded: Callable[[Model], Models], toy: Model) -> None:
    """Than in the same training of the same pictures without it."""
    moved = []
    for prior in (None, Prior.base):
        config = training(steps=25, prior=prior, batch_size=8 if prior else 4, prior_weight=3.0)
        trainer = start(STRATEGIES["unet"], config, f"{prior}")
        trainer.fit()
        x, found = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)), []
        for models in (loaded(toy), trainer.models):
            states = models.text_encoder(tokenize(models, CLASS))[0]
            with torch.no_grad():
                found.append(models.unet(x, torch.tensor([200, 500, 800]), encoder_hidden_states=states).sample)
        moved.append(float((found[0] - found[1]).norm()))
    assert 0 < moved[1] < 0.7 * moved[0]


# -- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"batch_size": 1}, "training.batch_size=1 has no room for training.prior=base"),
    ({"prior_share": 1.0}, "training.prior_share=1.0 is not between 0 and 1"),
    ({"prior_weight": -1.0}, "training.prior_weight=-1.0 is not a number from 0"),
    ({"prior_images": 0}, "training.prior_images=0 is not a positive number"),
])  # fmt: skip
def test_values_that_no_training_could_use_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        replace(BASE, **changes).validate(1)


class Nothing(Dataset):
    def validate_root(self) -> None:
        pass


def test_a_prior_needs_captions_and_something_to_go_back_to() -> None:
    bare, told = Nothing("k", "d"), Nothing("k", "d", regularisation=["a cat", "a cat", "a dog"])
    with pytest.raises(ConfigError, match="dataset=d knows none; type dataset.regularisation="):
        refuse_prior(BASE, Lora(), bare)
    assert regularisation_captions(BASE, told) == ["a cat", "a dog"]
    assert regularisation_captions(training(), told) == []
    with pytest.raises(
        ConfigError, match="training.prior=base with strategy=text_adapter, which puts another text tower"
    ):
        refuse_prior(BASE, TextAdapter(), told)
    refuse_prior(replace(BASE, prior=Prior.pictures), TextAdapter(), told)
    with pytest.raises(ConfigError, match="launch.shard=true with training.prior=base"):
        refuse_shards(BASE, STRATEGIES["unet"], "no")


def test_a_training_without_a_prior_has_the_address_that_it_had() -> None:
    plain = training().result_slice()
    assert not [key for key in plain if key.startswith("prior")]
    base, drawn = (replace(training(), prior=kind).result_slice() for kind in Prior)
    assert base.keys() - plain.keys() == {"prior", "prior_weight", "prior_share"}
    assert drawn.keys() - base.keys() == {"prior_images"} and base["prior"] == "base"
