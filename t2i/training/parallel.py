"""How the processes of a run train one model: each with the whole of it, or each with a shard."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from accelerate import Accelerator
from torch import nn

from t2i.context import Run
from t2i.errors import ConfigError
from t2i.models.parts import Models
from t2i.models.weights import rebuilt
from t2i.training import shards

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from t2i.training.strategies import Strategy

Sample = tuple[int, int]
"""Epoch and position."""


@dataclass
class Replicated:
    """Every process holds the whole model, and gradients are averaged in the backward pass (DDP). One process alone, too."""

    accelerator: Accelerator

    in_step: ClassVar[bool] = False
    """Whether a process can only compute while all others do the same: then none may repeat a pass, or leave one out."""

    def place(self, models: Models, strategy: "Strategy", dtype: torch.dtype) -> Models:
        """The networks on this process's device, frozen ones in `dtype`, with what trains in float32."""
        return models.to(self.accelerator.device, dtype)

    def prepare(self, module: nn.Module) -> nn.Module:
        """What a training step calls: in the configured precision, its gradients those of the global batch."""
        prepared: nn.Module = self.accelerator.prepare(module)
        return prepared

    def portions(
        self, sizes: Sequence[tuple[int, int]], samples: Sequence[Sample], most: int
    ) -> Iterator[tuple[list[Sample], bool]]:
        """This process's part of the samples, up to `most` of one size at a time; and whether they count."""
        for part in of_one_size(sizes, self._share(samples, self.accelerator.process_index), most):
            yield part, True

    def _share(self, samples: Sequence[Sample], process: int) -> Sequence[Sample]:
        return samples[process :: self.accelerator.num_processes]

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Around one portion's pass: gradients are sent with the last one of a step."""
        passing: AbstractContextManager[None] = self.accelerator.no_sync(module)
        return contextlib.nullcontext() if last else passing

    def gather(self, models: Models, strategy: "Strategy") -> None:
        """After the last step: the tuned networks are whole in the main process. Every process has to ask."""


@dataclass
class Sharded(Replicated):
    """Parameters, gradients and the optimizer's state are spread over the processes (FSDP: Zhao et al. 2023), block by block.

    A block is gathered while it computes. Parameters are float32; a gathered block is in the compute dtype, beside autocast,
    which keeps norms and sums in float32 as it does with DDP.
    """

    in_step: ClassVar[bool] = True

    def place(self, models: Models, strategy: "Strategy", dtype: torch.dtype) -> Models:
        """From the CPU, block by block: no device ever holds the whole of a network that trains. ConfigError for a text encoder
        that is a language model: it is read without its head, and what is gathered with the whole of it would be missing.
        """
        from torch.distributed.device_mesh import init_device_mesh

        device, trained = self.accelerator.device, strategy.modules(models.family)
        if any(getattr(models.modules[name], "can_generate", bool)() for name in trained):
            raise ConfigError(
                f"launch.shard=true with strategy={strategy.kind}: the text encoder of {models.family.title} is not spread over "
                "processes; use strategy=unet"
            )
        models.to("cpu", dtype)
        mesh = init_device_mesh(device.type, (self.accelerator.num_processes,))
        for name, network in models.modules.items():
            if name not in trained:
                network.to(device)
            else:
                _shard(network, blocks_of(models, name), mesh, dtype)
        return models

    def prepare(self, module: nn.Module) -> nn.Module:
        prepared: nn.Module = self.accelerator.prepare_model(module, device_placement=False, evaluation_mode=True)
        return prepared

    def portions(
        self, sizes: Sequence[tuple[int, int]], samples: Sequence[Sample], most: int
    ) -> Iterator[tuple[list[Sample], bool]]:
        """As many as the process with the most of them has: what is repeated to that end does not count."""
        count = self.accelerator.num_processes
        every = [list(of_one_size(sizes, self._share(samples, process), most)) for process in range(count)]
        own, longest = every[self.accelerator.process_index], max(every, key=len)
        for number, other in enumerate(longest):
            yield (own[number], True) if number < len(own) else (other, False)

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Gradients are sent with every portion: kept until the last one, they would be whole in every process."""
        return contextlib.nullcontext()

    def gather(self, models: Models, strategy: "Strategy") -> None:
        main = self.accelerator.is_main_process
        for name in strategy.modules(models.family):
            network = models.modules[name]
            parameters = shards.whole(dict(network.named_parameters()), keep=main)
            if main:
                models.modules[name] = _plain(network, parameters).to(self.accelerator.device)


def parallel_of(run: Run) -> Replicated:
    """How this run trains, from `launch.shard`."""
    accelerator = run.accelerator
    kind = Sharded if run.processes.shard and accelerator.num_processes > 1 else Replicated
    return kind(accelerator)


def of_one_size(
    sizes: Sequence[tuple[int, int]], samples: Sequence[tuple[int, int]], most: int
) -> Iterator[list[tuple[int, int]]]:
    """(epoch, position) pairs in their order, up to `most` together, of pictures of one size."""
    for size in dict.fromkeys(sizes[position] for _, position in samples):
        own = [sample for sample in samples if sizes[sample[1]] == size]
        yield from (own[start : start + most] for start in range(0, len(own), most))


def blocks_of(models: Models, name: str) -> dict[str, nn.Module]:
    """What is gathered as one of a network: the repeated blocks of the denoiser, the layers of a text encoder (its longest
    list of modules). The rest is gathered together, for the whole of a pass.
    """
    network = models.modules[name]
    if name == models.family.denoiser:
        return models.family.blocks(network)
    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList)]
    return dict(max(lists, key=len).named_children()) if lists else {}


def _shard(network: nn.Module, blocks: Mapping[str, nn.Module], mesh: "DeviceMesh", dtype: torch.dtype) -> None:
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    # Inputs stay as they are: a time of 999 is 1000 in bfloat16.
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype is torch.float32 else dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    # Never left gathered: what changes the shards between two passes (the average in place, a checkpoint) counts at once.
    for block in (*blocks.values(), network):
        plain = type(block)
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
        # transformers finds what hidden states a network has by the full name of its class, which is another one now
        type(block).__module__, type(block).__qualname__ = plain.__module__, plain.__qualname__


def _plain(network: nn.Module, parameters: Mapping[str, torch.Tensor]) -> nn.Module:
    """A network of the same configuration with these parameters, and the buffers of `network`."""
    plain: nn.Module = rebuilt(network)
    made = {
        id(sharded): nn.Parameter(parameters[name], requires_grad=sharded.requires_grad)
        for name, sharded in network.named_parameters()
    }
    for name, sharded in network.named_parameters(remove_duplicate=False):  # T5 has its embedding under two names
        holder, _, own = name.rpartition(".")
        setattr(plain.get_submodule(holder), own, made[id(sharded)])
    for name, buffer in network.named_buffers():
        holder, _, own = name.rpartition(".")
        setattr(plain.get_submodule(holder), own, buffer)
    return plain.train(network.training)
