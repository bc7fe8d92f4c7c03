"""A training is the same run whether or not it was interrupted, split into micro-batches, or watched."""

import itertools
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from t2i.context import Run
from t2i.data.captions import batch_order
from t2i.errors import ConfigError, UserError
from t2i.interruption import Interrupted
from t2i.models.families.family import Family
from t2i.training import dataset, noise, probe
from t2i.training.config import LearningRate, NonFinite, Optimizer, Training
from t2i.training.loop import Trainer
from t2i.training.lora import Lora
from t2i.training.memory import Portion
from t2i.training.resuming import checkpoints

from .conftest import RATE, STRATEGIES, Start, log_of, training

STEPS = 12
LONG = training(
    steps=STEPS, batch_size=3, warmup=2, schedule=LearningRate.cosine, save_every=4, min_snr_gamma=5.0, caption_dropout=0.3,
    ema=0.9,
)  # fmt: skip
DETERMINISTIC = ("step", "epoch", "loss", "gradient_norm", "learning_rate", "samples")
"""The columns of train_log.csv that do not measure time or memory."""


def records(trainer: Trainer) -> list[tuple[str, ...]]:
    return [tuple(row[key] for key in DETERMINISTIC) for row in log_of(trainer)]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def interrupt_after(trainer: Trainer, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM arrives while step number `step` (from 1) is computed."""
    original: Callable[..., Any] = trainer.train_set.batch
    calls = itertools.count(1)

    def batch(*arguments: Any, **options: Any) -> Any:
        if "timesteps" not in options and next(calls) == step:
            trainer.run.pending_signal = signal.SIGTERM
        return original(*arguments, **options)

    monkeypatch.setattr(trainer.train_set, "batch", batch)


SQUARE = [(64, 64)]
# -- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (10, 10), (3, 8), (7, 1)])
def test_sample_order_is_the_same_from_any_start(count: int, batch_size: int) -> None:
    whole = list(itertools.islice(batch_order(5, SQUARE * count, batch_size, 0), 30))
    for start in (1, 2, 7, 29):
        assert list(itertools.islice(batch_order(5, SQUARE * count, batch_size, start), 30 - start)) == whole[start:]


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (10, 10), (3, 8), (7, 1)])
def test_every_sample_comes_once_in_every_epoch(count: int, batch_size: int) -> None:
    batches = itertools.islice(batch_order(0, SQUARE * count, batch_size, 0), 3 * count)
    pairs = list(itertools.chain.from_iterable(batches))[: 3 * count]
    assert [epoch for epoch, _ in pairs] == [0] * count + [1] * count + [2] * count
    for epoch in range(3):
        assert sorted(i for e, i in pairs if e == epoch) == list(range(count))


def test_epochs_and_seeds_have_their_own_orders() -> None:
    def epoch(seed: int, number: int) -> list[int]:
        return [i for _, i in next(itertools.islice(batch_order(seed, SQUARE * 50, 50, 0), number, None))]

    assert len({tuple(epoch(seed, number)) for seed in (0, 1) for number in (0, 1)}) == 4


SHAPES = [(64, 64)] * 7 + [(80, 48)] * 4 + [(48, 80)]


def test_pictures_of_several_shapes_come_as_often_as_those_of_one() -> None:
    per_epoch = 4  # twelve pictures, three a batch
    whole = list(itertools.islice(batch_order(3, SHAPES, 3, 0), 5 * per_epoch))
    for start in (1, 5, 6, 7):
        assert list(itertools.islice(batch_order(3, SHAPES, 3, start), 20 - start)) == whole[start:]
    assert all(len(batch) == 3 for batch in whole)
    for epoch in range(5):
        batches = whole[per_epoch * epoch : per_epoch * (epoch + 1)]
        assert sorted(sample for batch in batches for sample in batch) == [(epoch, i) for i in range(12)]
        mixed = [batch for batch in batches if len({SHAPES[i] for _, i in batch}) > 1]
        assert len(mixed) == 1, "what no batch of one shape takes: one square, one wide and the tall picture"
    assert len({tuple(SHAPES[batch[0][1]] for batch in whole[k : k + 4]) for k in range(0, 20, 4)}) > 1, "shuffled"


@pytest.mark.parametrize(
    ("squares", "wide", "batch_size"), [(100, 1, 8), (100, 1, 16), (5, 2, 8), (31, 33, 4), (3, 1, 32)]
)
def test_a_rare_shape_weighs_no_more_than_a_common_one(squares: int, wide: int, batch_size: int) -> None:
    """One wide picture among a hundred squares: no batch shows a sample twice, and an epoch is as long as any other."""
    sizes = [(64, 64)] * squares + [(96, 48)] * wide
    count, steps = len(sizes), 3 * len(sizes)
    batches = list(itertools.islice(batch_order(0, sizes, batch_size, 0), steps))
    seen = [sample for batch in batches for sample in batch]
    assert len(set(seen)) == len(seen), "every (epoch, picture) once: it is what noise and timestep are functions of"
    whole_epochs = steps // -(-count // batch_size) * (-(-count // batch_size) * batch_size) // count
    for epoch in range(whole_epochs):
        assert sorted(i for e, i in seen if e == epoch) == list(range(count))
    assert Training(epochs=1.0, batch_size=batch_size).total_steps(count) == max(1, round(count / batch_size))


def test_a_batch_of_several_shapes_is_the_mean_over_its_pictures(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shape is a forward pass of its own, and every picture weighs the same."""
    trainer = start(STRATEGIES["attn2_to_v"], training(batch_size=4))
    passes: list[list[tuple[int, int]]] = []
    original = trainer.train_set.batch

    def batch(samples: Any, *arguments: Any, **options: Any) -> Any:
        passes.append(list(samples))
        return original(samples, *arguments, **options)

    monkeypatch.setattr(trainer.train_set, "batch", batch)
    mine = [(0, 0), (0, 1), (0, 2), (0, 3)]
    together = trainer._accumulate(0, mine, 4)
    gradient = [p.grad.clone() for p in trainer.parameters.values() if p.grad is not None]
    trainer.optimizer.zero_grad(set_to_none=True)
    trainer.train_set.sizes = [(1, 2) if i == 2 else size for i, size in enumerate(trainer.train_set.sizes)]
    apart = trainer._accumulate(0, mine, 4)
    assert passes == [mine, [(0, 0), (0, 1), (0, 3)], [(0, 2)]]
    assert float(apart) == pytest.approx(float(together), rel=1e-5)
    for left, right in zip(gradient, trainer.parameters.values(), strict=True):
        assert right.grad is not None and torch.allclose(left, right.grad, rtol=1e-3, atol=1e-6)


# -- resuming --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_resumed_training_is_bitwise_the_uninterrupted_one(
    start: Start, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = start(STRATEGIES[name], LONG, "straight")
    numbers = straight.fit()
    stopped = start(STRATEGIES[name], LONG, "stopped")
    interrupt_after(stopped, 5, monkeypatch)
    with pytest.raises(Interrupted) as caught:
        stopped.fit()
    assert caught.value.status == 128 + signal.SIGTERM
    assert checkpoints.steps(stopped.folder / "checkpoints") == [4, 5]
    stopped.run.pending_signal = 0
    resumed = start(STRATEGIES[name], LONG, "stopped")
    again = resumed.fit()
    assert records(resumed) == records(straight) and len(records(resumed)) == STEPS
    assert equal(weights(resumed), weights(straight))
    same = ("final_loss", "held_out_loss", "held_out_loss_before", "steps", "trainable_parameters")
    assert {key: again[key] for key in same} == {key: numbers[key] for key in same}


@pytest.mark.parametrize("optimizer", [Optimizer.adamw, Optimizer.sgd])
def test_it_is_with_convolutions_that_train_and_lie_with_channels_last(
    start: Start, optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their moments and averages come back from a file in which everything lies as it is read."""
    config = replace(LONG, optimizer=optimizer, channels_last=True, ema=0.9)
    straight = start(STRATEGIES["unet"], config, "straight")
    straight.fit()
    stopped = start(STRATEGIES["unet"], config, "stopped")
    interrupt_after(stopped, 5, monkeypatch)
    with pytest.raises(Interrupted):
        stopped.fit()
    stopped.run.pending_signal = 0
    resumed = start(STRATEGIES["unet"], config, "stopped")
    resumed.fit()
    assert records(resumed) == records(straight) and equal(weights(resumed), weights(straight))
    plain = start(STRATEGIES["unet"], replace(config, channels_last=False), "plain")
    plain.fit()
    for own, other in zip(weights(straight).values(), weights(plain).values(), strict=True):
        assert torch.allclose(own, other, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def straight_records() -> dict[str, Any]:
    """What the uninterrupted training left, made by the first test that needs it."""
    return {}


@pytest.mark.parametrize("step", [1, 4, 11, 12])
def test_a_training_can_be_interrupted_at_any_step(
    start: Start, straight_records: dict[str, Any], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, config = Lora(learning_rate=RATE, rank=2, dropout=0.3), replace(LONG, optimizer=Optimizer.sgd)
    if not straight_records:
        straight = start(strategy, config, "straight")
        straight.fit()
        straight_records.update(records=records(straight), weights=weights(straight))
    stopped = start(strategy, config, "stopped")
    interrupt_after(stopped, step, monkeypatch)
    with pytest.raises(Interrupted):
        stopped.fit()
    assert checkpoints.steps(stopped.folder / "checkpoints")[-1] == step
    stopped.run.pending_signal = 0
    resumed = start(strategy, config, "stopped")
    resumed.fit()
    assert records(resumed) == straight_records["records"]
    assert equal(weights(resumed), straight_records["weights"])


def test_a_killed_training_repeats_the_steps_since_its_checkpoint(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = STRATEGIES["attn2_to_v"]
    straight = start(strategy, LONG, "straight")
    straight.fit()
    killed = start(strategy, LONG, "killed")
    original: Callable[..., Any] = killed.train_set.batch
    calls = itertools.count(1)

    def batch(*arguments: Any, **options: Any) -> Any:
        if "timesteps" not in options and next(calls) == 7:
            raise MemoryError
        return original(*arguments, **options)

    monkeypatch.setattr(killed.train_set, "batch", batch)
    with pytest.raises(MemoryError):
        killed.fit()
    assert [row["step"] for row in log_of(killed)] == ["1", "2", "3", "4", "5", "6"]
    resumed = start(strategy, LONG, "killed")
    resumed.fit()
    assert records(resumed) == records(straight), "rows after the checkpoint of step 4 are written anew, not twice"
    assert equal(weights(resumed), weights(straight))


def test_a_damaged_checkpoint_costs_steps_and_changes_nothing(start: Start) -> None:
    strategy = STRATEGIES["attn2_to_v"]
    straight = start(strategy, LONG, "straight")
    straight.fit()
    folder = straight.folder / "checkpoints"
    assert checkpoints.steps(folder) == [8, 12], "at the last step too: exporting may fail"
    file = folder / "step_00000012" / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:-1])
    again = start(strategy, LONG, "straight")
    before = records(straight)
    again.fit()
    assert records(again) == before and equal(weights(again), weights(straight))


# -- the step --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attn2_to_v", "text_encoder"])
def test_micro_batches_do_not_change_the_training(start: Start, name: str) -> None:
    losses, norms, final = [], [], []
    for size in (1, 2, 4, 3):
        trainer = start(STRATEGIES[name], training(steps=4, micro_batch=size), f"micro {size}")
        trainer.fit()
        losses.append([float(row["loss"]) for row in log_of(trainer)])
        norms.append([float(row["gradient_norm"]) for row in log_of(trainer)])
        final.append(torch.cat([value.flatten() for value in weights(trainer).values()]))
    for other in range(1, 4):
        assert losses[other] == pytest.approx(losses[0], rel=1e-5, abs=1e-5)
        assert norms[other] == pytest.approx(norms[0], rel=1e-3)
        assert torch.allclose(final[other], final[0], atol=0.2 * RATE)


def test_gradient_checkpointing_changes_only_memory(start: Start) -> None:
    logs = []
    for on in (False, True):
        trainer = start(STRATEGIES["lora"], training(gradient_checkpointing=on), f"checkpointing {on}")
        trainer.fit()
        assert trainer.models.unet.is_gradient_checkpointing is on
        logs.append([float(row["loss"]) for row in log_of(trainer)])
    assert logs[1] == pytest.approx(logs[0], rel=1e-6)


def test_learning_rate_warms_up_and_falls(start: Start) -> None:
    trainer = start(STRATEGIES["attn2_to_v"], training(steps=6, warmup=2, schedule=LearningRate.linear))
    trainer.fit()
    # the log shows the rate that the next step will have: after one of two warm-up steps, half
    assert [float(row["learning_rate"]) / RATE for row in log_of(trainer)] == pytest.approx(
        [0.5, 1, 0.75, 0.5, 0.25, 0]
    )


@pytest.mark.parametrize("optimizer", [Optimizer.adamw, Optimizer.sgd, Optimizer.adafactor])
def test_training_lowers_the_loss_of_what_it_saw(start: Start, optimizer: Optimizer) -> None:
    strategy = replace(STRATEGIES["unet"], learning_rate=3e-2 if optimizer is Optimizer.sgd else 3e-3)
    numbers = start(strategy, training(steps=30, optimizer=optimizer, log_every=5)).fit()
    assert numbers["held_out_loss"] < 0.97 * numbers["held_out_loss_before"]


def test_held_out_loss_is_measured_alike_each_time_and_leaves_no_trace(start: Start) -> None:
    trainer = start(Lora(dropout=0.5), training())
    first = trainer.held_out_losses()
    assert trainer.held_out_losses() == first
    assert trainer.module.training, "dropout is on again"
    # two pictures at four timesteps from the middle of each quarter
    data = trainer.held_out.batch(
        [(0, 0)] * 4 + [(0, 1)] * 4, 0, 0.0, trainer.device, trainer.dtype, [125, 375, 625, 875] * 2
    )
    noisy = trainer.objective.schedule.add_noise(data.latents, data.noise, data.timesteps)
    with torch.no_grad():
        error = (
            (trainer.models.unet.eval()(noisy, data.timesteps, data.text["states"]).sample - data.noise).pow(2).mean()
        )
    assert first[0] == pytest.approx(float(error), rel=1e-5)
    assert sum(first[1:]) / 4 == pytest.approx(first[0], rel=1e-9) and len(set(first)) == 5


def test_nothing_is_measured_twice_with_the_same_weights(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs, measure = [], probe.picture_losses

    def counted(*given: Any) -> torch.Tensor:
        epochs.append(given[4])
        return measure(*given)

    monkeypatch.setattr(probe, "picture_losses", counted)
    trainer = start(STRATEGIES["unet"], training(steps=4, ema=0.5))
    trainer.fit()
    assert epochs == 2 * [probe.HELD_OUT_EPOCH, probe.TRAIN_EPOCH], "before the first step and after the last"
    again = trainer.held_out_losses()  # the average is in the parameters now
    assert trainer.measured is not None
    assert sum(trainer.measured.after["held_out"]) / 2 == pytest.approx(again[0], rel=1e-9)


def test_pictures_of_both_splits_are_measured_at_the_same_timesteps(start: Start) -> None:
    trainer = start(STRATEGIES["unet"], training(steps=4))
    trainer.fit()
    assert trainer.measured is not None
    before, after = trainer.measured.before, trainer.measured.after
    assert {name: len(values) for name, values in before.items()} == {"held_out": 2, "train": 2}
    assert sum(after["held_out"]) / 2 == pytest.approx(trainer.measured.held_out[-1][1], rel=1e-9)
    # one training picture by hand: the middle of each quarter, under noise of an epoch that no training has
    samples, levels = [(-1, 1)] * 4, [125, 375, 625, 875]
    data = trainer.train_set.batch(samples, 0, 0.0, trainer.device, trainer.dtype, levels)
    noisy = trainer.objective.schedule.add_noise(data.latents, data.noise, data.timesteps)
    with torch.no_grad():
        error = (
            (trainer.models.unet.eval()(noisy, data.timesteps, data.text["states"]).sample - data.noise).pow(2).mean()
        )
    assert after["train"][1] == pytest.approx(float(error), rel=1e-5)
    assert before["train"][1] != after["train"][1]


def test_a_gradient_that_is_not_finite_names_the_learning_rate(start: Start) -> None:
    strategy = replace(STRATEGIES["unet"], learning_rate=9.9)
    with pytest.raises(
        UserError, match=r"the gradient of step \d+ is not finite; use a smaller strategy\.learning_rate \(now 9\.9\)"
    ):
        start(strategy, training(steps=20, clip_norm=None, optimizer=Optimizer.sgd)).fit()


def test_weights_that_are_not_finite_are_neither_kept_nor_returned(start: Start) -> None:
    strategy = replace(STRATEGIES["unet"], learning_rate=9.9)
    config = training(steps=20, clip_norm=None, optimizer=Optimizer.sgd, log_every=1000)
    # the step before the first bad gradient may already have left weights that are not finite
    sentence = r"(is not|is no longer) finite; use a smaller strategy\.learning_rate"
    saving = start(strategy, replace(config, save_every=1), "saving")
    with pytest.raises(UserError, match=sentence):
        saving.fit()
    found = checkpoints.newest(saving.folder / "checkpoints")
    assert found is not None and all(bool(tensor.isfinite().all()) for tensor in found.parameters.values())
    last = start(strategy, replace(config, steps=found.step + 1, log_every=1000), "last")
    with pytest.raises(UserError, match="use a smaller strategy"):
        last.fit()


def test_metrics_are_tracked_per_step(start: Start) -> None:
    seen: list[tuple[int, dict[str, float]]] = []

    class Tracker:
        def metrics(self, values: dict[str, float], step: int = 0) -> None:
            seen.append((step, values))

    trainer = start(STRATEGIES["attn2_to_v"], training(steps=5, log_every=2))
    trainer.run.tracker = Tracker()  # type: ignore[assignment]
    trainer.fit()
    losses = [(step, values["train/loss"]) for step, values in seen if "train/loss" in values]
    assert [step for step, _ in losses] == [2, 4, 5]
    measured = [(step, list(values)) for step, values in seen if "train/held_out_loss" in values]
    assert measured == [(0, ["train/held_out_loss"]), (5, ["train/held_out_loss"])]
    assert [loss for _, loss in losses] == [float(row["loss"]) for row in log_of(trainer)]


def test_summary_counts_what_was_done(start: Start, run: Run) -> None:
    numbers = start(STRATEGIES["attn2_to_v"], Training(epochs=1.0, batch_size=4, held_out_images=2)).fit()
    assert numbers["steps"] == 2  # 10 pictures in batches of 4, rounded
    assert numbers["trainable_parameters"] == 24 * (8 + 16 + 8 + 8)
    assert numbers["images_per_second"] > 0 and numbers["peak_memory_mb"] > 100


# -- choosing what is exported ---------------------------------------------------------------------------------------


def test_the_average_follows_the_weights_and_is_what_is_exported(start: Start) -> None:
    config = training(steps=3, ema=0.5)
    live = start(STRATEGIES["attn2_to_v"], replace(config, ema=None), "live")
    states = [weights(live)]
    original = live.optimizer.step

    def step() -> None:
        original()
        states.append(weights(live))

    live.optimizer.step = step
    live.fit()
    averaged = start(STRATEGIES["attn2_to_v"], config, "averaged")
    averaged.fit()
    name = next(iter(states[0]))
    expected = states[0][name]
    for number, state in enumerate(states[1:], 1):
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * state[name]
    assert len(states) == 4
    assert torch.allclose(averaged.parameters[name], expected, atol=1e-7)
    assert not torch.equal(averaged.parameters[name], states[-1][name])


def test_the_best_checkpoint_is_exported_and_milestones_stay(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    config = training(steps=12, save_every=2, milestones=[4], export_best=True)
    trainer = start(STRATEGIES["attn2_to_v"], config)
    values = iter([1.0, 0.9, 0.7, 0.5, 0.6, 0.8, 0.55])
    monkeypatch.setattr(trainer, "held_out_losses", lambda: [next(values)] * 5)
    numbers = trainer.fit()
    folder = trainer.folder / "checkpoints"
    assert (numbers["exported_step"], numbers["held_out_loss"], numbers["held_out_loss_before"]) == (6, 0.5, 1.0)
    assert checkpoints.steps(folder) == [4, 6, 10, 12]
    assert equal(weights(trainer), checkpoints.read(folder / "step_00000006").parameters)
    measured = checkpoints.read(folder / "step_00000012").facts["held_out"]
    assert [row[:2] for row in measured] == [[0, 1.0], [2, 0.9], [4, 0.7], [6, 0.5], [8, 0.6], [10, 0.8], [12, 0.55]]


# -- gradients that are not finite -----------------------------------------------------------------------------------


def poison(trainer: Trainer, bad: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradients of these steps (from 1) are not finite."""
    original: Callable[..., Any] = trainer.train_set.batch
    calls = itertools.count(1)

    def batch(*arguments: Any, **options: Any) -> Any:
        data = original(*arguments, **options)
        if "timesteps" not in options and next(calls) in bad:
            data.latents[0, 0, 0, 0] = float("nan")
        return data

    monkeypatch.setattr(trainer.train_set, "batch", batch)


def test_a_gradient_that_is_not_finite_stops_the_training_before_it_changes_anything(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = start(STRATEGIES["lora"], training(steps=4, log_every=100))
    poison(trainer, {1}, monkeypatch)
    before = weights(trainer)
    with pytest.raises(UserError, match="the gradient of step 1 is not finite; use a smaller strategy.learning_rate"):
        trainer.fit()
    assert equal(weights(trainer), before)


def test_skipped_steps_leave_no_trace(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    config = training(steps=6, log_every=100, nonfinite=NonFinite.skip, weight_decay=0.0)
    trainer = start(STRATEGIES["attn2_to_v"], config, "poisoned")
    poison(trainer, {2, 5, 6}, monkeypatch)
    monkeypatch.setattr(trainer, "_mean", lambda loss: 0.0)  # the loss of the last step is not finite
    states = []
    original = trainer._step

    def step(*arguments: Any) -> Any:
        states.append(weights(trainer))
        return original(*arguments)

    monkeypatch.setattr(trainer, "_step", step)
    numbers = trainer.fit()
    assert numbers["skipped_steps"] == 3
    assert equal(states[1], states[2]) and equal(states[4], states[5]) and equal(states[5], weights(trainer))
    assert not equal(states[0], states[1]) and not equal(states[2], states[3])


def test_steps_that_the_device_leaves_out_are_counted_when_the_loss_is_read(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where asking for every gradient would wait for it; the CPU has the same fused update."""
    from t2i.training import optimizers

    def fused(config: Any, strategy: Any, parameters: Any, device: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters.values(), lr=1e-3, weight_decay=0.0, fused=True)

    monkeypatch.setattr(optimizers, "build", fused)
    trainer = start(STRATEGIES["attn2_to_v"], training(steps=6, log_every=3, nonfinite=NonFinite.skip), "device")
    trainer.recovery.decided_on_device = True
    poison(trainer, {2, 5, 6}, monkeypatch)
    monkeypatch.setattr(trainer, "_mean", lambda loss: 0.0)
    states = []
    original = trainer._step

    def step(*arguments: Any) -> Any:
        states.append(weights(trainer))
        return original(*arguments)

    monkeypatch.setattr(trainer, "_step", step)
    assert trainer.fit()["skipped_steps"] == 3
    assert equal(states[1], states[2]) and equal(states[4], states[5]) and equal(states[5], weights(trainer))
    assert not equal(states[0], states[1]) and not equal(states[2], states[3])


def test_skipping_has_a_limit(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = start(STRATEGIES["attn2_to_v"], training(steps=20, log_every=100, nonfinite=NonFinite.skip))
    poison(trainer, set(range(2, 21)), monkeypatch)
    with pytest.raises(UserError, match="the gradients of 11 steps were not finite"):
        trainer.fit()


# -- memory ----------------------------------------------------------------------------------------------------------


def test_out_of_memory_halves_the_micro_batch_and_nothing_else(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    config = training(steps=3, batch_size=4)
    roomy = start(STRATEGIES["attn2_to_v"], replace(config, micro_batch=1), "roomy")
    roomy.fit()
    tight = start(STRATEGIES["attn2_to_v"], config, "tight")
    original: Callable[..., Any] = tight.train_set.batch
    sizes = []

    def batch(samples: Any, *arguments: Any, **options: Any) -> Any:
        if "timesteps" not in options:
            sizes.append(len(samples))
        if "timesteps" not in options and len(samples) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(samples, *arguments, **options)

    monkeypatch.setattr(tight.train_set, "batch", batch)
    tight.fit()
    assert sizes == [4, 2, *[1] * 12]
    assert records(tight) == records(roomy) and equal(weights(tight), weights(roomy))


def test_out_of_memory_with_one_picture_says_what_helps(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = start(STRATEGIES["attn2_to_v"], training(micro_batch=1))

    original: Callable[..., Any] = trainer.train_set.batch

    def batch(*arguments: Any, **options: Any) -> Any:
        if "timesteps" in options:
            return original(*arguments, **options)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.train_set, "batch", batch)
    with pytest.raises(UserError, match=r"out of memory with 1 pictures at a time; use .*gradient_checkpointing=true"):
        trainer.fit()


def test_what_does_not_fit_is_free_before_it_is_tried_again() -> None:
    """An error that is being handled holds everything that its frames do."""

    class Large:
        alive = 0

        def __init__(self) -> None:
            Large.alive += 1

        def __del__(self) -> None:
            Large.alive -= 1

    def work(size: int) -> int:
        assert Large.alive == 0, "the first try is still in memory"
        large = Large()
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size + 0 * id(large)

    told: list[int] = []
    portion = Portion(16, told.append)
    assert portion.run(work) == 2 and told == [8, 4, 2] and portion.size == 2
    with pytest.raises(torch.OutOfMemoryError):
        portion.run(lambda size: work(9))


@pytest.mark.parametrize("where", ["held-out loss", "moments", "text states"])
def test_what_is_measured_and_encoded_before_the_first_step_is_halved_too(
    start: Start, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    config = training(steps=2, held_out_images=3)
    roomy = start(STRATEGIES["attn2_to_v"], config, "roomy")
    expected = roomy.held_out_losses()
    target, name = {
        "held-out loss": (probe, "losses"),
        "moments": (dataset, "encode_moments"),
        "text states": (Family, "conditions"),
    }[where]
    original: Callable[..., Any] = getattr(target, name)
    sizes: list[int] = []

    def tight(*given: Any) -> Any:
        # of (objective's batch), (pixels) and (the size that is asked for)
        sizes_of = {"held-out loss": lambda: len(given[2].latents), "moments": lambda: len(given[1])}
        size = sizes_of.get(where, lambda: given[3])()
        sizes.append(size)
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(*given)

    shutil.rmtree(roomy.run.store.root)  # encode again
    monkeypatch.setattr(target, name, tight)
    tightened = start(STRATEGIES["attn2_to_v"], config, "tight")
    assert tightened.held_out_losses() == pytest.approx(expected, rel=1e-5)
    assert max(sizes) > 2 and sizes[-1] <= 2


def test_out_of_memory_in_the_update_names_optimizers_with_less(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = start(STRATEGIES["attn2_to_v"], training())

    def step() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.optimizer, "step", step)
    with pytest.raises(UserError, match=r"in the step of training.optimizer=adamw.*use training.optimizer=adafactor"):
        trainer.fit()


def test_nothing_of_the_optimizer_is_left_when_the_pipeline_is_exported(start: Start) -> None:
    trainer = start(STRATEGIES["attn2_to_v"], training(steps=2, ema=0.5))
    trainer.fit()
    after = weights(trainer)
    trainer.release()
    assert not trainer.optimizer.optimizer.state and all(p.grad is None for p in trainer.parameters.values())
    assert equal(weights(trainer), after)


# -- tuned means changed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "warmup", "used"), [(1, 10, 0), (2, 10, 1), (4, 10, 2), (10, 10, 5), (11, 10, 10)])
def test_a_warm_up_beyond_the_training_takes_half_of_it(start: Start, steps: int, warmup: int, used: int) -> None:
    config = training(steps=steps, warmup=warmup)
    assert config.warmup_steps(steps) == used and config.result_slice(steps)["warmup"] == used
    if steps <= 4:
        trainer = start(STRATEGIES["attn2_to_v"], config)
        before = weights(trainer)
        trainer.fit()
        assert not equal(weights(trainer), before), "whatever is exported as tuned differs from the base"


def test_weights_that_are_those_of_the_base_are_not_called_tuned(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = start(STRATEGIES["attn2_to_v"], training(steps=3, nonfinite=NonFinite.skip, log_every=100))
    poison(trainer, {1, 2, 3}, monkeypatch)
    monkeypatch.setattr(trainer, "_mean", lambda loss: 0.0)
    with pytest.raises(
        UserError, match="the training changed no weight in 3 steps.*use a larger strategy.learning_rate"
    ):
        trainer.fit()


# -- a damaged best checkpoint ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["while it is stopped", "at its end"])
def test_a_damaged_best_checkpoint_is_made_again(start: Start, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = training(steps=8, save_every=2, export_best=True, keep=2)
    strategy = STRATEGIES["attn2_to_v"]
    losses = {0: 1.0, 2: 0.8, 4: 0.5, 6: 0.7, 8: 0.6}

    def of_known_loss(folder: str) -> Trainer:
        trainer = start(strategy, config, folder)
        original = trainer._measure

        def measure(step: int) -> None:
            original(step)
            trainer.history.held_out[-1][1] = losses[step]

        monkeypatch.setattr(trainer, "_measure", measure)
        return trainer

    straight = of_known_loss("straight")
    assert straight.fit()["exported_step"] == 4
    damaged = of_known_loss("damaged")
    original = damaged.keeper.best

    def damage(step: int) -> Any:
        path = damaged.folder / "checkpoints" / f"step_{step:08d}" / "parameters.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        return original(step)

    monkeypatch.setattr(damaged.keeper, "best", damage)
    with pytest.raises(UserError, match=r"step_00000004 is damaged .* repeat the command"):
        damaged.fit()
    if when == "while it is stopped":
        shutil.rmtree(damaged.folder / "checkpoints" / "step_00000008")
    again = of_known_loss("damaged")
    assert again.fit()["exported_step"] == 4
    assert records(again) == records(straight) and equal(weights(again), weights(straight))


# -- starting from a named checkpoint --------------------------------------------------------------------------------


def test_a_training_starts_from_a_named_checkpoint_of_its_configuration_only(start: Start) -> None:
    strategy, config = STRATEGIES["attn2_to_v"], training(steps=6, milestones=[3], ema=0.9)
    whole = start(strategy, config, "whole")
    whole.identity = {"training.steps": 6, "training.seed": 0}
    whole.fit()
    checkpoint = whole.folder / "checkpoints" / "step_00000003"
    shutil.rmtree(checkpoint.with_name("step_00000006"))  # as when it is finished
    for named in (checkpoint, checkpoint.parent, whole.folder):
        again = start(strategy, replace(config, resume=str(named)), f"from {named.name}")
        again.identity = dict(whole.identity)
        again.fit()
        assert [row[0] for row in records(again)] == ["4", "5", "6"]
        assert equal(weights(again), weights(whole))
    other = start(strategy, replace(config, resume=str(checkpoint)), "other")
    other.identity = {"training.steps": 6, "training.seed": 1, "data": "x"}
    sentence = (
        r"another configuration: data \(None there, x here\), training.seed \(0 there, 1 here\); .*resume_force=true"
    )
    with pytest.raises(UserError, match=sentence):
        other.fit()
    other.config.resume_force = True
    assert other.fit()["steps"] == 6
    short = start(strategy, replace(config, steps=3, resume=str(checkpoint), resume_force=True), "short")
    with pytest.raises(ConfigError, match="is at step 3 and the training has 3: use more training.steps"):
        short.fit()


def test_a_damaged_or_missing_named_checkpoint_is_refused(start: Start) -> None:
    strategy, config = STRATEGIES["attn2_to_v"], training(steps=4, milestones=[2])
    whole = start(strategy, config, "whole")
    whole.fit()
    path = whole.folder / "checkpoints" / "step_00000002"
    content = bytearray((path / "optimizer.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "optimizer.pt").write_bytes(content)
    with pytest.raises(UserError, match="step_00000002 is damaged .*optimizer.pt has changed"):
        start(strategy, replace(config, resume=str(path)), "damaged").fit()
    with pytest.raises(UserError, match="holds no checkpoint; give a run folder whose training kept milestones"):
        start(strategy, replace(config, resume=str(whole.folder.parent / "damaged")), "missing").fit()


# -- the noise schedule ----------------------------------------------------------------------------------------------


def test_zero_terminal_snr_needs_velocity_and_ends_in_pure_noise(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="which predicts noise"):
        start(STRATEGIES["lora"], training(zero_terminal_snr=True))
    # the toy predicts noise; the same toy told to predict velocity
    original = noise.settle

    def velocity(config: Any, models: Any) -> None:
        models.scheduler_config |= {"prediction_type": "v_prediction"}
        original(config, models)

    monkeypatch.setattr(noise, "settle", velocity)
    trainer = start(STRATEGIES["lora"], training(zero_terminal_snr=True))
    assert float(trainer.objective.schedule.alphas_cumprod[-1]) == 0.0
    assert trainer.models.scheduler_config["timestep_spacing"] == "trailing"
    trainer.fit()
    exported = trainer.models.pipeline().scheduler
    exported.set_timesteps(4)
    assert float(exported.alphas_cumprod[-1]) == 0.0 and int(exported.timesteps[0]) == 999


@pytest.mark.parametrize("switch", ["channels_last", pytest.param("compile", marks=pytest.mark.slow)])
def test_what_is_faster_trains_as_the_plain_network(start: Start, switch: str) -> None:
    plain, faster = (
        start(STRATEGIES["lora"], training(steps=3, **changes), name)
        for name, changes in (("plain", {}), (switch, {switch: True}))
    )
    plain.fit()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        faster.fit()
    losses = [[float(row["loss"]) for row in log_of(trainer)] for trainer in (plain, faster)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    weight = faster.models.unet.conv_in.weight
    blocks = [type(m).__name__ for m in faster.models.unet.modules() if m._compiled_call_impl is not None]
    if switch == "channels_last":
        assert weight.is_contiguous(memory_format=torch.channels_last)
    else:
        assert {"BasicTransformerBlock", "ResnetBlock2D"} == set(blocks)
