"""Settings that no training could use are refused; what changes the weights is part of their address."""

import pytest

from t2i.config import SCHEMAS, compose
from t2i.errors import ConfigError
from t2i.training.attention import Attn2ToV
from t2i.training.config import LearningRate, Optimizer, Training
from t2i.training.lora import Lora

WRONG = [
    ("steps", 0), ("epochs", 0.0), ("batch_size", 0), ("micro_batch", 0), ("warmup", -1), ("weight_decay", -0.1),
    ("clip_norm", 0.0), ("clip_norm", float("nan")), ("caption_dropout", 1.1), ("min_snr_gamma", 0.0), ("keep", 1),
    ("save_every", 0), ("log_every", 0), ("held_out_images", -1), ("resume_force", True),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_impossible_settings_are_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"training\.{key}"):
        Training(**{key: value}).validate(1)  # type: ignore[arg-type]


def test_a_batch_is_shared_evenly() -> None:
    Training(batch_size=6).validate(3)
    with pytest.raises(ConfigError, match="cannot be shared by 4 processes"):
        Training(batch_size=6).validate(4)


@pytest.mark.parametrize("kind", SCHEMAS["strategy"])
def test_only_whole_networks_are_spread_over_processes(kind: str) -> None:
    config = compose([f"strategy={kind}", "task=train", "launch.shard=true"])
    if kind in ("unet", "both"):
        config.validate(2)
        return
    with pytest.raises(ConfigError, match=rf"launch\.shard=true with strategy={kind}, .* use strategy=unet or both"):
        config.validate(2)
    compose([f"strategy={kind}", "task=generate", "launch.shard=true"]).validate(2)  # trains nothing


@pytest.mark.parametrize("optimizer", Optimizer)
def test_shards_have_rules_that_look_at_single_numbers(optimizer: Optimizer) -> None:
    config = compose(["strategy=unet", "task=train", "launch.shard=true", f"training.optimizer={optimizer.value}"])
    if optimizer in (Optimizer.adamw, Optimizer.sgd):
        config.validate(2)
        return
    with pytest.raises(ConfigError, match=rf"with training\.optimizer={optimizer.value}, .* use adamw or sgd"):
        config.validate(2)


@pytest.mark.parametrize(
    "setting", ["launch.mixed_precision=fp16", "training.compile=true", "training.channels_last=true"]
)
def test_what_shards_do_not_take_is_refused_by_name(setting: str) -> None:
    compose(["strategy=unet", "task=train", "launch.shard=true", "launch.mixed_precision=bf16"]).validate(2)
    with pytest.raises(ConfigError, match=f"launch.shard=true with {setting}"):
        compose(["strategy=unet", "task=train", "launch.shard=true", setting]).validate(2)


def test_epochs_decide_the_steps() -> None:
    assert Training(steps=7).total_steps(1000) == 7
    assert Training(steps=7, epochs=2.0, batch_size=16).total_steps(1000) == 125
    assert Training(epochs=0.001, batch_size=16).total_steps(1000) == 1


def test_address_holds_what_changes_the_weights_and_nothing_else() -> None:
    base = Training().result_slice()
    operational = Training(save_every=3, keep=5, log_every=1, micro_batch=2, held_out_images=1, export_pipeline=False)
    assert operational.result_slice() == base
    for change in ({"seed": 1}, {"schedule": LearningRate.linear}, {"min_snr_gamma": 5.0}, {"caption_dropout": 0.0}):
        assert Training(**change).result_slice() != base  # type: ignore[arg-type]
    best = Training(export_best=True).result_slice()
    assert Training(export_best=True, save_every=3).result_slice() != best


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_learning_rate_is_a_small_positive_number(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.learning_rate="):
        Attn2ToV(learning_rate=rate).validate()


@pytest.mark.parametrize(("key", "value"), [("rank", 0), ("dropout", 1.0), ("alpha", 0.0), ("alpha", float("nan"))])
def test_impossible_adapters_are_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"strategy\.{key}="):
        Lora(**{key: value}).validate()  # type: ignore[arg-type]
