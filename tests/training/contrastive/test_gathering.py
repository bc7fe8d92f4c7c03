"""Two processes have the loss and the gradients of one with the joined batch; chunks change neither."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from t2i.training.contrastive.config import ClipTuning, Projection, Targets, Towers
from t2i.training.contrastive.gathering import average_gradients
from t2i.training.contrastive.loop import Tuner

from ..processes import in_processes
from .conftest import Start, tuning

BATCH = [7, 2, 11, 0, 5, 9, 3, 12]


def gradients(tuner: Tuner) -> dict[str, torch.Tensor]:
    """Of one batch, by parameter, and the loss."""
    loss = tuner.gradients(0, BATCH)
    average_gradients(list(tuner.parameters.values()))
    found = {name: p.grad.clone() for name, p in tuner.parameters.items() if p.grad is not None}
    return {**found, "loss": loss.reshape(1)}


def close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(wanted)
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    for name, gradient in wanted.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-5, atol=1e-6 * largest, msg=lambda m, n=name: f"{n}: {m}"
        )


def in_two_processes(work: Callable[[], dict[str, torch.Tensor]], folder: Path) -> list[dict[str, torch.Tensor]]:
    """What `work` gives in each of two processes."""
    assert in_processes(2, lambda: save_file(work(), folder / f"{os.environ['RANK']}.safetensors")) == [0, 0]
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


@pytest.mark.parametrize("chunk", [None, 3])
def test_two_processes_have_the_gradients_of_one(tuner: Start, tmp_path: Path, chunk: int | None) -> None:
    config = tuning(batch_size=8, projection=Projection.fresh)
    two = in_two_processes(
        lambda: gradients(tuner(tuning(batch_size=8, projection=Projection.fresh, chunk=chunk))), tmp_path
    )
    one = gradients(tuner(config))
    assert "logit_scale" in one and float(one["logit_scale"].abs()) > 1e-4  # also what no feature passes through
    close(two[0], one)
    for name, gradient in two[0].items():
        torch.testing.assert_close(two[1][name], gradient, rtol=0, atol=0)


CHANGES: list[dict[str, object]] = [
    {}, {"towers": Towers.text}, {"towers": Towers.image}, {"rank": 2}, {"targets": Targets.diagonal},
]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_a_batch_in_chunks_has_the_gradients_of_the_whole(tuner: Start, changes: dict[str, object], chunk: int) -> None:
    def config(size: int | None) -> ClipTuning:
        return tuning(batch_size=8, chunk=size, **changes)

    close(gradients(tuner(config(chunk))), gradients(tuner(config(None))))
