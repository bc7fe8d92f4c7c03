"""Tensors of which each process holds a shard (DTensor): made whole, and cut again. Any other tensor passes as it is.

What is kept and exported is always whole, so nothing that is read again depends on how many processes wrote it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Optional

import torch
from torch.distributed.tensor import DTensor, distribute_tensor


def is_sharded(values: Any) -> bool:
    """Whether any tensor among nested values is a shard."""
    return any(isinstance(tensor, DTensor) for tensor in _tensors(values))


def whole(value: Any, keep: bool) -> Any:
    """Nested values with every shard made whole on the CPU, one after the other, so that no device holds more than one whole
    tensor. Every process has to ask; one that does not keep them has None in their places.
    """
    if isinstance(value, DTensor):
        gathered = value.full_tensor().detach()
        return gathered.to("cpu", copy=True) if keep else None
    if isinstance(value, Mapping):
        return {key: whole(item, keep) for key, item in value.items()}
    return [whole(item, keep) for item in value] if isinstance(value, list) else value


def like(tensor: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """A whole tensor as `target` lies in the processes: this process's part of it, without any communication."""
    if not isinstance(target, DTensor) or isinstance(tensor, DTensor):
        return tensor
    # A copy: the part would be a view that keeps the whole in memory.
    return distribute_tensor(tensor, target.device_mesh, target.placements, src_data_rank=None).clone()


def moments_like(state: Mapping[str, Any], optimizer: Any) -> dict[str, Any]:
    """The whole state of an optimizer, by the positions of its parameters, as these lie in the processes; in memory of its
    own, where a file may be mapped before.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def own(value: Any, parameter: torch.Tensor) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return (like(value, parameter) if value.shape == parameter.shape else value).clone()

    moments = {
        place: {name: own(value, parameters[place]) for name, value in values.items()}
        for place, values in state["state"].items()
    }
    return {**state, "state": moments}


def not_finite(tensors: Mapping[str, torch.Tensor]) -> Optional[str]:
    """The name of the first tensor that holds a value that is not finite, in whichever process; None where all are finite."""
    flags = torch.stack([_own(tensor).isfinite().all() for tensor in tensors.values()]).int()
    if is_sharded(tensors):
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MIN)
    return next((name for name, fine in zip(tensors, flags.tolist(), strict=True) if not fine), None)


def bits_of(tensors: Mapping[str, torch.Tensor]) -> list[int]:
    """The sum of every tensor's bits, the same in every process: differs wherever anything was trained."""
    sums = torch.stack([_own(tensor).view(torch.int32).sum(dtype=torch.int64) for tensor in tensors.values()])
    if is_sharded(tensors):
        torch.distributed.all_reduce(sums)
    return [int(each) for each in sums.tolist()]


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor."""
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)
