"""Channels last: how images lie in memory while convolutions compute. Results are equal to rounding."""

from typing import TYPE_CHECKING, Optional

import torch
from torch import nn

from t2i.models.size import SMALL
from t2i.models.weights import count

if TYPE_CHECKING:
    from t2i.models.parts import Models


def lay_out(models: "Models", asked: Optional[bool], autoencoder: bool = True) -> None:
    """Lay the convolutions of the denoiser, and of the autoencoder, out with channels last.

    asked: whether at all; None: on a CPU, where the autoencoder is 1.1 times as fast so, a small denoiser 1.03 to 1.06 and any
    in half precision 1.3 times; a large one in float32 takes 1.06 times as long (`bench/README.md`). Then convolutions that
    train stay as they are: they gain nothing. models: on their device, in the precision in which they compute.
    """
    chosen = {models.family.denoiser: models.denoiser, **({"vae": models.vae} if autoencoder else {})}
    for name, network in chosen.items():
        if asked or (asked is None and models.device.type == "cpu" and _pays(models, name)):
            _channels_last(network, trained=bool(asked))


def _pays(models: "Models", name: str) -> bool:
    small = count(models.denoiser.parameters()) < SMALL
    return name == "vae" or small or models.dtype is not torch.float32


def _channels_last(network: nn.Module, trained: bool) -> None:
    for parameter in network.parameters():
        if parameter.ndim == 4 and (trained or not parameter.requires_grad):
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
