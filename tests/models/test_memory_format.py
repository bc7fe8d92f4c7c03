"""How convolutions lie in memory: where channels last was measured to be quicker, or where it was asked for."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from t2i.models import memory_format
from t2i.models.config import Model
from t2i.models.memory_format import lay_out
from t2i.models.parts import Models

LAST = torch.channels_last


def last(network: nn.Module) -> set[bool]:
    """Whether its convolutions of more than one place and channel lie so; each that does not is one False."""
    weights = [p for p in network.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    assert len(weights) > 5
    return {weight.is_contiguous(memory_format=LAST) for weight in weights}


@pytest.mark.parametrize("asked", [None, True, False])
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_layout_is_the_quicker_one_unless_it_was_chosen(
    loaded: Callable[[Model], Models],
    toy: Model,
    asked: bool | None,
    small: bool,
    dtype: torch.dtype,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = loaded(toy).to("cpu", dtype)
    monkeypatch.setattr(memory_format, "SMALL", 10**9 if small else 0)
    if device == "cuda":
        monkeypatch.setattr(Models, "device", property(lambda self: torch.device("cuda")))
    lay_out(models, asked)
    by_itself = device == "cpu"
    assert last(models.denoiser) == {(by_itself and (small or dtype is not torch.float32)) if asked is None else asked}
    assert last(models.vae) == {by_itself if asked is None else asked}
