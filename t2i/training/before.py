"""The networks as they were before a training, for a moment: what a prior is held to without a second network."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import nn

Untrained = Callable[[], AbstractContextManager[None]]
"""Inside of what it gives, the networks are those of before the first step."""


def copies(parameters: Iterable[nn.Parameter]) -> Untrained:
    """A frozen copy of what trains, as it is now, takes its place; whatever is frozen anyway is shared."""
    kept = [(parameter, parameter.detach().clone()) for parameter in parameters]

    @contextlib.contextmanager
    def untrained() -> Iterator[None]:
        trained = [parameter.data for parameter, _ in kept]
        for parameter, before in kept:
            parameter.data = before
        try:
            yield
        finally:
            for (parameter, _), own in zip(kept, trained, strict=True):
                parameter.data = own

    return untrained


def adapters_off(networks: Iterable[nn.Module]) -> Untrained:
    """Low-rank adapters are passed by: the layers below them are the base model's, and no second network is needed."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for network in networks for layer in network.modules() if isinstance(layer, BaseTunerLayer)]

    @contextlib.contextmanager
    def untrained() -> Iterator[None]:
        # peft's own switch freezes the adapters too, under the hands of whoever listens for their gradients.
        for layer in layers:
            layer._disable_adapters = True
        try:
            yield
        finally:
            for layer in layers:
                layer._disable_adapters = False

    return untrained


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Without dropout and gradients; the mode is put back."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)
