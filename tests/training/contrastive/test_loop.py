"""A tuning that is interrupted goes on with the same bits, is saved after every epoch, and keeps what it may not change."""

import csv
import math
import signal
from pathlib import Path

import pytest
import torch

from t2i.errors import ConfigError, UserError
from t2i.interruption import Interrupted
from t2i.training import checkpoints
from t2i.training.contrastive.config import ClipTuning
from t2i.training.contrastive.loop import LOG, Tuner
from t2i.training.contrastive.pairs import batches, shares

from .conftest import Start, pairs, tuning


def state(tuner: Tuner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tuner.clip.model.state_dict().items()}


def log_of(tuner: Tuner) -> list[list[str]]:
    """The log without the speed."""
    with open(tuner.folder / LOG, newline="", encoding="utf-8") as file:
        return [row[:-1] for row in csv.reader(file)]


def interrupt(tuner: Tuner, step: int) -> None:
    """Run until SIGTERM arrives in a step."""
    whole, count = tuner.step, 0

    def counted(epoch: int, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal count
        count += 1
        if count == step:
            tuner.run.pending_signal = signal.SIGTERM
        return whole(epoch, batch)

    tuner.step = counted  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        tuner.fit()
    tuner.run.pending_signal = 0


@pytest.mark.parametrize("changes", [{}, {"rank": 2}], ids=["full", "adapters"])
@pytest.mark.parametrize("step", [2, 3, 4])
def test_an_interrupted_tuning_ends_with_the_same_bits(tuner: Start, step: int, changes: dict[str, object]) -> None:
    config = tuning(epochs=3, **changes)
    whole = tuner(config, "whole")
    history = whole.fit()
    interrupt(tuner(config, "parts"), step)
    again = tuner(config, "parts")
    assert again.fit() == history
    for name, tensor in state(whole).items():
        assert torch.equal(state(again)[name], tensor), name
    assert log_of(again) == log_of(whole)


def test_a_killed_tuning_goes_on_after_its_last_epoch(tuner: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tuning(epochs=3)
    whole = tuner(config, "whole")
    whole.fit()
    killed = tuner(config, "parts")
    step = killed.step
    monkeypatch.setattr(killed, "step", lambda *a: step(*a) if len(checkpoints.steps(killed.folder / "checkpoints")) < 2
                        else (_ for _ in ()).throw(KeyboardInterrupt))  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        killed.fit()
    assert checkpoints.steps(killed.folder / "checkpoints") == [3, 6]  # three batches of four of 13 pictures an epoch
    again = tuner(config, "parts")
    again.fit()
    assert all(torch.equal(a, b) for a, b in zip(state(again).values(), state(whole).values(), strict=True))


def test_every_epoch_is_saved_and_the_oldest_go(tuner: Start) -> None:
    trained = tuner(tuning(epochs=4, keep=3))
    history = trained.fit()
    assert checkpoints.steps(trained.folder / "checkpoints") == [6, 9, 12]
    assert [step for step, _ in history["held_out"]] == [0, 3, 6, 9, 12]


def test_the_temperature_stays_within_its_bound(tuner: Start) -> None:
    trained = tuner(tuning(max_logit_scale=14.0, learning_rate=0.1))
    trained.fit()
    assert float(trained.clip.model.logit_scale.detach().exp()) <= 14.0 * (1 + 1e-6)
    free = tuner(tuning(max_logit_scale=100.0, epochs=1), "free")
    with torch.no_grad():
        free.clip.model.logit_scale.fill_(math.log(200.0))
    free.step(0, [0, 1, 2, 3])
    assert float(free.clip.model.logit_scale.detach().exp()) == pytest.approx(100.0, rel=1e-5)


def test_a_gradient_that_is_not_finite_stops_the_tuning(tuner: Start) -> None:
    broken = tuner(tuning())
    with torch.no_grad():
        broken.clip.model.visual_projection.weight[0, 0] = math.inf
    with pytest.raises(UserError, match="not finite.*use a smaller clip.learning_rate"):
        broken.fit()


def test_an_epoch_shows_no_picture_twice_and_every_epoch_another_order() -> None:
    stream = batches(0, 13, 4, 0)
    first, second = ([next(stream) for _ in range(3)] for _ in range(2))
    for epoch, own in enumerate((first, second)):
        assert {number for number, _ in own} == {epoch}
        shown = [i for _, batch in own for i in batch]
        assert len(set(shown)) == 12
    assert [batch for _, batch in first] != [batch for _, batch in second]
    resumed = batches(0, 13, 4, 4)
    assert [next(resumed) for _ in range(2)] == second[1:]


def test_processes_share_a_batch() -> None:
    assert shares([7, 2, 11, 0], 2) == [[7, 11], [2, 0]]


def test_an_epoch_chooses_among_the_captions() -> None:
    own = pairs("train", 1)
    said = {own.caption(0, epoch, 0) for epoch in range(20)}
    assert said == set(own.captions[0])


def test_a_batch_larger_than_the_set_is_refused(tuner: Start) -> None:
    with pytest.raises(
        ConfigError, match=r"clip.batch_size=14 is more than the 13 training pictures; use clip.batch_size=13"
    ):
        tuner(tuning(batch_size=14))


def test_what_does_not_change_the_weights_is_no_part_of_their_address() -> None:
    plain = ClipTuning().result_slice()
    assert (
        ClipTuning(keep=5, chunk=8, images=10, generate=8, forgetting=["dataset=scenes"], resume="never").result_slice()
        == plain
    )
    assert ClipTuning(seed=1).result_slice() != plain


def test_checkpoints_hold_what_trains(tuner: Start, tmp_path: Path) -> None:
    trained = tuner(tuning(rank=2, epochs=1))
    trained.fit()
    found = checkpoints.newest(tmp_path / "clip" / "checkpoints")
    assert found is not None
    assert {name for name in found.parameters if "lora_" not in name} == {"logit_scale"}
