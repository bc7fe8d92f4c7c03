"""Features of the global batch in every process, with gradients."""

from typing import Any

import torch
from torch import distributed


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(features) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, features.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        # Every process computes the same loss of the whole batch, so all of them have the same gradient here: what
        # would come back from summing over processes is the own part times their number, without communication.
        count = len(gradients[0]) // distributed.get_world_size()
        start = distributed.get_rank() * count
        return gradients[0][start : start + count] * distributed.get_world_size()


def gather(features: torch.Tensor) -> torch.Tensor:
    """The features (n, D) of all processes, (n * processes, D), process after process.

    A loss of the result, the same in every process, has gradients whose mean over processes is the gradient of one
    process with the whole batch: for features that pass through here as for parameters that do not (the temperature).
    """
    if not _several():
        return features
    gathered: torch.Tensor = _Gather.apply(features)
    return gathered


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over processes, in one message; parameters without one are left alone."""
    if not _several():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
