"""A checkpoint of another configuration: for every key, the new value applies or the sentence names the key."""

import shutil
from dataclasses import fields, replace
from enum import Enum
from typing import Any

import pytest
import torch

from t2i.config import as_dict
from t2i.context import flat
from t2i.errors import UserError
from t2i.training.config import CaptionRule, LearningRate, NonFinite, Optimizer, Timesteps, Training
from t2i.training.loop import Trainer
from t2i.training.lora import Lora

from .conftest import RATE, STRATEGIES, Start, log_of, training

AT, STEPS = 3, 6
BASE = training(steps=STEPS, milestones=[AT], warmup=1, schedule=LearningRate.cosine, ema=0.9)
STRATEGY = Lora(learning_rate=RATE, rank=2)
OTHER: dict[str, Any] = {
    "steps": 8, "epochs": 4.0, "images": 9, "batch_size": 2, "optimizer": Optimizer.sgd, "weight_decay": 0.5,
    "schedule": LearningRate.linear, "warmup": 2, "clip_norm": 0.1, "caption_dropout": 0.7,
    "captions": CaptionRule(prefix="sks "), "flip": True, "min_snr_gamma": 3.0, "noise_offset": 0.3,
    "zero_terminal_snr": True, "timesteps": Timesteps.logit_normal, "timestep_range": [0, 500], "ema": 0.5,
    "nonfinite": NonFinite.skip, "export_best": True, "gradient_checkpointing": True, "seed": 7,
    "strategy.learning_rate": 3e-3, "strategy.rank": 3, "strategy.alpha": 5.0, "strategy.dropout": 0.3,
    "strategy.targets": ["to_q"], "strategy.text_targets": ["q_proj"], "strategy.text_encoder_learning_rate": 1e-5,
    "strategy.use_dora": True, "strategy.use_rslora": True,
}  # fmt: skip
"""A changed value for every key that the weights depend on."""
ELSEWHERE = {"zero_terminal_snr", "captions", "flip", "images"}
"""Keys that change what is trained on or refuse the model, wherever the training starts."""


def identity(config: Training, strategy: Any) -> dict[str, Any]:
    """As task=train writes it into a checkpoint."""
    return flat({"model": "m", "data": "d", "training": config.result_slice(), "strategy": as_dict(strategy)})


def begun(start: Start, config: Training, strategy: Any, folder: str) -> Trainer:
    trainer = start(strategy, config, folder)
    trainer.identity = identity(config, strategy)
    return trainer


def test_every_key_of_the_identity_has_another_value_here() -> None:
    keys = {*BASE.result_slice(), *(f"strategy.{field.name}" for field in fields(Lora))} - {"strategy.kind"}
    assert keys <= set(OTHER), keys - set(OTHER)


@pytest.fixture
def checkpoint(start: Start) -> str:
    whole = begun(start, BASE, STRATEGY, "whole")
    whole.fit()
    shutil.rmtree(whole.folder / "checkpoints" / f"step_{STEPS:08d}")
    return str(whole.folder)


def changed(key: str) -> tuple[Training, Lora]:
    if key.startswith("strategy."):
        return BASE, replace(STRATEGY, **{key.removeprefix("strategy."): OTHER[key]})
    return replace(BASE, **{key: OTHER[key]}), STRATEGY


def test_a_new_value_applies_or_is_refused_by_name(start: Start, checkpoint: str) -> None:
    refused: dict[str, str] = {}
    for key in sorted(set(OTHER) - ELSEWHERE):
        config, strategy = changed(key)
        with pytest.raises(UserError, match=rf"another configuration: .*{key.split('.')[-1]} \("):
            begun(start, replace(config, resume=checkpoint), strategy, f"not forced {key}").fit()
        forced = begun(start, replace(config, resume=checkpoint, resume_force=True), strategy, f"forced {key}")
        try:
            step = forced._resume()
        except UserError as error:
            refused[key] = str(error)
            continue
        assert step == AT
        fresh = begun(start, config, strategy, f"fresh {key}")
        for _ in range(AT):
            fresh.optimizer.step()
            fresh.schedule.step()
        for group, expected in zip(forced.optimizer.param_groups, fresh.optimizer.param_groups, strict=True):
            rates = group["lr"], expected["lr"]
            assert rates[0] == pytest.approx(rates[1]), key
            assert {**group, "lr": 0, "params": []} == {**expected, "lr": 0, "params": []}, key
        assert forced.schedule.get_last_lr() == pytest.approx(fresh.schedule.get_last_lr()), key
        assert forced.total == fresh.total
        shutil.rmtree(forced.folder)
        forced.folder.mkdir()
        numbers = begun(start, forced.config, strategy, f"forced {key}").fit()
        assert numbers["steps"] == fresh.total, key
    assert all(key in sentence for key, sentence in refused.items()), refused
    assert set(refused) == {"strategy.rank", "strategy.targets", "strategy.text_targets", "strategy.use_dora"}


def test_the_moments_are_taken_over_and_a_new_rate_is_not_the_old_one(start: Start, checkpoint: str) -> None:
    strategy = replace(STRATEGY, learning_rate=10 * RATE)
    forced = begun(start, replace(BASE, resume=checkpoint, resume_force=True), strategy, "ten times")
    forced.fit()
    rates = [float(row["learning_rate"]) for row in log_of(forced)]
    same = begun(start, replace(BASE, resume=checkpoint), STRATEGY, "same")
    same.fit()
    assert rates == pytest.approx([10 * float(row["learning_rate"]) for row in log_of(same)])
    state = next(iter(forced.optimizer.state_dict()["state"].values()))
    assert int(state["step"]) == STEPS, "Adam's count goes on"


def test_an_average_that_is_asked_for_later_begins_at_the_checkpoint(start: Start) -> None:
    plain = begun(start, replace(BASE, ema=None), STRATEGIES["attn2_to_v"], "plain")
    plain.fit()
    shutil.rmtree(plain.folder / "checkpoints" / f"step_{STEPS:08d}")
    config = replace(BASE, ema=0.9, resume=str(plain.folder), resume_force=True)
    forced = begun(start, config, STRATEGIES["attn2_to_v"], "averaged")
    forced._resume()
    assert forced.average is not None
    assert all(torch.equal(forced.average.values[name], value) for name, value in forced.parameters.items())


def test_pictures_of_a_held_out_loss_stay_those_that_it_began_with(start: Start) -> None:
    whole = begun(start, BASE, STRATEGY, "whole")
    whole.fit()
    shutil.rmtree(whole.folder / "checkpoints" / f"step_{STEPS:08d}")
    again = begun(start, replace(BASE, held_out_images=3), STRATEGY, "whole")
    again.fit()
    assert again.measured is not None
    assert {len(values) for values in (*again.measured.before.values(), *again.measured.after.values())} == {2}


def test_other_data_are_measured_anew(start: Start, checkpoint: str) -> None:
    forced = begun(start, replace(BASE, resume=checkpoint, resume_force=True), STRATEGY, "other data")
    forced.identity["data"] = "other"
    forced.fit()
    assert forced.measured is not None and [int(step) for step, _ in forced.measured.held_out] == [AT, STEPS]


def test_enums_of_the_identity_are_plain_values() -> None:
    assert not [value for value in identity(BASE, STRATEGY).values() if isinstance(value, Enum)]
