"""Flow matching (Lipman et al. 2023) on straight paths: x_s = (1 - s) x + s e, and the flow e - x that leads along them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import torch

from t2i.training.config import Timesteps, Training

TRAINED = 1000
"""Times are told, as diffusers' schedulers tell them, as 1000 times the share of noise s."""


class Flow:
    """Prediction of the flow at continuous times, every time with the same weight."""

    def __init__(self, scheduler_config: Mapping[str, Any], training: Optional[Training] = None) -> None:
        """training: range and density of the times; without it, all of them alike.

        The shift k of the scheduler's configuration moves them towards noise: s' = k s / (1 + (k - 1) s) (Esser et al. 2024,
        eq. 23). Uniform times are then uniform on the grid that pictures are drawn along.
        """
        self.shift = float(scheduler_config.get("shift", 1.0))
        self._config, self._training = scheduler_config, training

    @property
    def plain(self) -> "Flow":
        return Flow(self._config)

    def refuses(self, model: str) -> Optional[str]:
        return self._training.flow_refusal(model) if self._training else None

    def settings(self) -> dict[str, Any]:
        return {}

    def _shifted(self, share: float) -> float:
        return self.shift * share / (1 + (self.shift - 1) * share)

    def _time(self, share: float) -> float:
        """A share of the range that is trained, as a time in it."""
        low, high = (end / TRAINED for end in (self._training.timestep_range if self._training else (0, TRAINED)))
        # where the range lies before the shift
        low, high = (end / (self.shift - (self.shift - 1) * end) for end in (low, high))
        return TRAINED * self._shifted(low + share * (high - low))

    def draw(self, g: np.random.Generator) -> float:
        return self._time(float(g.random()))

    def finish(self, g: np.random.Generator, time: float, noise: np.ndarray) -> float:
        if self._training and self._training.timesteps is Timesteps.logit_normal:
            time = self._time(1 / (1 + math.exp(-g.standard_normal())))  # Esser et al. 2024, eq. 19 with m = 0, s = 1
        return time

    def times(self, count: int) -> list[float]:
        return [(k + 0.5) * TRAINED / count for k in range(count)]

    def starts(self, count: int) -> list[float]:
        return [k * TRAINED / count for k in range(count)]

    @property
    def told(self) -> dict[str, Any]:
        """Paths are straight: their shift moves times, and a loss at given times does not see it."""
        return {"predicts": "flow"}

    def ranges(self, count: int) -> list[str]:
        return [f"{k / count:g}-{(k + 1) / count:g}" for k in range(count)]

    def tensor(self, times: Sequence[float]) -> torch.Tensor:
        return torch.tensor(times, dtype=torch.float32)

    def noisy(self, x: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        share = (time / TRAINED).view(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        return (1 - share) * x + share * noise

    def target(self, x: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return noise - x

    def weighted(self, errors: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return errors
