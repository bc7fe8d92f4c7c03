"""Mixed precision: frozen networks compute in half the bits, what trains stays float32 and comes back from disk."""

import math
from dataclasses import replace

import pytest
import torch

from t2i.context import Interrupted
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
    original = stopped._stop_requested
    monkeypatch.setattr(stopped, "_stop_requested", lambda: 15 if len(log_of(stopped)) == 2 else original())
    with pytest.raises(Interrupted):
        stopped.fit()
    resumed = start(strategy, config, "stopped", "bf16")
    resumed.fit()
    assert [row["loss"] for row in log_of(resumed)] == [row["loss"] for row in log_of(straight)]
    assert all(torch.equal(straight.parameters[key], value) for key, value in resumed.parameters.items())
