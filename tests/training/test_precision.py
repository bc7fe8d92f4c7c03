"""Mixed precision: frozen networks compute in half the bits, what trains stays float32 and comes back from disk."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from t2i.interruption import Interrupted
from t2i.models.config import Model
from t2i.models.parts import Models
from t2i.training.lora import Lora

from .conftest import STRATEGIES, Start, log_of, training


@pytest.mark.parametrize("name", STRATEGIES)
def test_bfloat16_trains_float32_parameters_over_frozen_bfloat16(start: Start, name: str) -> None:
    trainer = start(STRATEGIES[name], training(min_snr_gamma=5.0), precision="bf16")
    before = {key: parameter.detach().clone() for key, parameter in trainer.parameters.items()}
    numbers = trainer.fit()
    assert {parameter.dtype for parameter in trainer.parameters.values()} == {torch.float32}
    chosen = {id(parameter) for parameter in trainer.parameters.values()}
    rest = [p for module in trainer.models.modules.values() for p in module.parameters() if id(p) not in chosen]
    assert {parameter.dtype for parameter in rest} == {torch.bfloat16}
    assert all(math.isfinite(value) for value in numbers.values())
    assert all(float(row["gradient_norm"]) > 0 for row in log_of(trainer))
    assert any(not torch.equal(before[key], parameter) for key, parameter in trainer.parameters.items())
    state = trainer.optimizer.state_dict()["state"]
    assert {value.dtype for entry in state.values() for value in entry.values()} == {torch.float32}


@pytest.mark.parametrize("name", STRATEGIES)
def test_bfloat16_starts_from_nearly_the_loss_of_float32(start: Start, name: str) -> None:
    first = []
    for precision in ("bf16", "no"):
        trainer = start(STRATEGIES[name], training(steps=1), precision, precision=precision)
        trainer.fit()
        first.append(float(log_of(trainer)[0]["loss"]))
    assert first[0] != first[1]
    assert first[0] == pytest.approx(first[1], rel=0.02)  # bfloat16 has 8 bits: half a percent for one rounding


def test_bfloat16_resumes_exactly(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, config = Lora(rank=2), training(steps=4, log_every=1)
    straight = start(strategy, config, "straight", "bf16")
    straight.fit()
    stopped = start(strategy, replace(config, save_every=2), "stopped", "bf16")
    monkeypatch.setattr(stopped.stop, "look", lambda at_once: 15 if len(log_of(stopped)) == 2 else 0)
    with pytest.raises(Interrupted):
        stopped.fit()
    resumed = start(strategy, config, "stopped", "bf16")
    resumed.fit()
    assert [row["loss"] for row in log_of(resumed)] == [row["loss"] for row in log_of(straight)]
    assert all(torch.equal(straight.parameters[key], value) for key, value in resumed.parameters.items())


@pytest.mark.parametrize("name", STRATEGIES)
def test_fifty_steps_in_bfloat16_lower_the_loss(start: Start, name: str) -> None:
    trainer = start(STRATEGIES[name], training(steps=50, caption_dropout=0.0), precision="bf16")
    # The same noise in every epoch: the loss of what is seen again and again, not that of a draw.
    trainer.held_out = trainer.train_set
    numbers = trainer.fit()
    assert numbers["held_out_loss"] < numbers["held_out_loss_before"]


@pytest.mark.parametrize("name", STRATEGIES)
def test_in_float16_only_frozen_parameters_are_half_so_that_gradients_can_be_unscaled(
    name: str, toy: Model, loaded: Callable[[Model], Models]
) -> None:
    models = loaded(toy)
    strategy = STRATEGIES[name]
    strategy.attach(models)
    models.to("cpu", torch.float16)

    def unscale(parameters: list[torch.nn.Parameter]) -> None:
        scaler = torch.amp.GradScaler("cpu")
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        scaler.scale(torch.ones(1))  # a scaler must have seen a loss
        scaler.unscale_(torch.optim.SGD(parameters, lr=0.1))

    chosen = strategy.trainable(models)
    unscale(list(chosen.values()))
    known = {id(parameter) for parameter in chosen.values()}
    frozen = [p for module in models.modules.values() for p in module.parameters() if id(p) not in known]
    assert {parameter.dtype for parameter in frozen} == {torch.float16}
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        unscale(frozen[:1])
