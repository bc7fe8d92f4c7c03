"""Update rules by name, and the moving average of the weights."""

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from t2i.errors import ConfigError
from t2i.training.config import Optimizer, Training
from t2i.training.strategies import Strategy

FUSED = ("cuda", "cpu")
"""Devices where AdamW goes over a parameter once: on a CPU in a third of the time of its loop over operations."""


def build(
    config: Training, strategy: Strategy, parameters: Mapping[str, nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer of the chosen parameters, one group a network; ConfigError when its library is not installed."""
    groups: list[dict[str, Any]] = []
    for module in dict.fromkeys(name.partition(".")[0] for name in parameters):
        own = [parameter for name, parameter in parameters.items() if name.startswith(f"{module}.")]
        groups.append({"params": own, "lr": strategy.rate(module)})
    decay = config.weight_decay
    match config.optimizer:
        case Optimizer.sgd:
            return torch.optim.SGD(groups, momentum=0.9, weight_decay=decay)
        case Optimizer.adamw:
            return torch.optim.AdamW(groups, weight_decay=decay, fused=device.type in FUSED)
        case Optimizer.adafactor:
            return torch.optim.Adafactor(groups, weight_decay=decay)
        case Optimizer.adamw_8bit:
            return _library("bitsandbytes.optim", "AdamW8bit", "bitsandbytes")(groups, weight_decay=decay)
        case Optimizer.prodigy:
            return _library("prodigyopt", "Prodigy", "prodigyopt")(groups, weight_decay=decay)


def _library(module: str, name: str, package: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"this training.optimizer needs {package}, which is not installed: pip install {package}, "
            "or use training.optimizer=adamw"
        ) from error


class MovingAverage:
    """Exponential moving average of parameters, in float32, with the usual warm-up: decay min(d, (1 + n) / (10 + n))."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = dict(parameters), decay
        self.values = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the parameters; `step` counts the updates from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), list(self._parameters.values()), 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The parameters hold the average, and their own values again afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name] = kept
