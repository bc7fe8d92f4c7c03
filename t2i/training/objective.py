"""What is minimised: the objective of a family's denoiser, with all randomness a function of the sample."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Optional, Protocol

import numpy as np
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import nn

from t2i.models.families.family import Conditions
from t2i.models.families.picture import Picture
from t2i.models.parts import Models
from t2i.randomness import generator
from t2i.training.config import Timesteps, Training
from t2i.training.flow import Flow

ZERO_TERMINAL = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False}
"""Of a scheduler's configuration: Lin et al. 2023, algorithm 1, and the steps that then start at the last timestep. DDIM
would clip samples at 1, which is for pixels."""


class Objective(Protocol):
    """How noise is added, what is predicted of it, and how much each time counts. Knows nothing of the network."""

    @property
    def plain(self) -> "Objective":
        """The same, with every time alike and no weights: losses that can be compared."""

    def refuses(self, model: str) -> Optional[str]:
        """A sentence about what in `training` has no meaning for it; None where all of it has. model: the model's name."""

    def settings(self) -> dict[str, Any]:
        """What it changes in the scheduler's configuration that pictures are drawn with."""

    def draw(self, g: np.random.Generator) -> float:
        """The time of a sample: the first number that is taken from the sample's own generator."""

    def finish(self, g: np.random.Generator, time: float, noise: np.ndarray) -> float:
        """The time again, and `noise` (channels, h, w) changed in place, after everything else was drawn: what only some
        trainings draw stands here, so that it changes no other choice of the sample.
        """

    def times(self, count: int) -> list[float]:
        """The times in the middle of `count` equal ranges, and so for every training the same."""

    def ranges(self, count: int) -> list[str]:
        """These ranges in words."""

    def starts(self, count: int) -> list[float]:
        """The times at which these ranges begin: k / count of the whole, k = 0 ... count - 1."""

    @property
    def told(self) -> dict[str, Any]:
        """What decides a loss beside network, latents, noise and time, as JSON values."""

    def tensor(self, times: Sequence[float]) -> torch.Tensor:
        """Times (n,) as the denoiser is told them."""

    def noisy(self, x: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Latents with noise, (n, channels, h, w)."""

    def target(self, x: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """What the denoiser is to predict, of the same shape."""

    def weighted(self, errors: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Errors (n,), each as much as its time counts."""


class Diffusion:
    """Prediction of noise (Ho et al. 2020, eq. 14) or velocity (Salimans and Ho 2022), as the scheduler's configuration says,
    at discrete timesteps.
    """

    def __init__(self, scheduler_config: Mapping[str, Any], training: Optional[Training] = None) -> None:
        """training: range and weighting of the timesteps, and the noise offset; without it, all of them alike and none."""
        self.schedule = DDPMScheduler.from_config(dict(scheduler_config))
        self.velocity = self.schedule.config["prediction_type"] == "v_prediction"
        self.trained: int = self.schedule.config["num_train_timesteps"]
        self._config, self._training = scheduler_config, training

    @cached_property
    def plain(self) -> "Diffusion":
        return Diffusion(self._config)

    def refuses(self, model: str) -> Optional[str]:
        if self._training and self._training.zero_terminal_snr and not self.velocity:
            return (
                f"training.zero_terminal_snr=true with model={model}, which predicts noise: pure noise tells "
                "nothing about itself; use a model that predicts velocity, or training.zero_terminal_snr=false"
            )
        return None

    def settings(self) -> dict[str, Any]:
        return dict(ZERO_TERMINAL) if self._training and self._training.zero_terminal_snr else {}

    def _range(self) -> tuple[int, int]:
        low, high = self._training.timestep_range if self._training else (0, self.trained)
        return low, min(high, self.trained)

    def draw(self, g: np.random.Generator) -> float:
        return int(g.integers(*self._range()))

    def finish(self, g: np.random.Generator, time: float, noise: np.ndarray) -> float:
        if self._training and self._training.timesteps is Timesteps.logit_normal:
            low, high = self._range()
            share = 1 / (1 + math.exp(-g.standard_normal()))  # Esser et al. 2024, eq. 19 with m = 0, s = 1
            time = low + min(int(share * (high - low)), high - low - 1)
        if self._training and self._training.noise_offset:
            noise += self._training.noise_offset * g.standard_normal((len(noise), 1, 1), dtype=np.float32)
        return time

    def times(self, count: int) -> list[float]:
        return [round((k + 0.5) * self.trained / count) for k in range(count)]

    def starts(self, count: int) -> list[float]:
        return [k * self.trained // count for k in range(count)]

    @property
    def told(self) -> dict[str, Any]:
        """The signal's share at each timestep is the schedule."""
        shares = hashlib.sha256(self.schedule.alphas_cumprod.double().numpy().round(9).tobytes()).hexdigest()
        return {"predicts": "velocity" if self.velocity else "noise", "schedule_sha256": shares}

    def ranges(self, count: int) -> list[str]:
        length = self.trained // count
        return [f"{k * length}-{(k + 1) * length - 1}" for k in range(count)]

    def tensor(self, times: Sequence[float]) -> torch.Tensor:
        return torch.tensor([int(time) for time in times])

    def noisy(self, x: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.schedule.add_noise(x, noise, time)
        return found

    def target(self, x: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.schedule.get_velocity(x, noise, time) if self.velocity else noise
        return found

    def weighted(self, errors: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """By min(SNR, gamma) / SNR (Hang et al. 2023; for velocity the division is by SNR + 1)."""
        gamma = self._training.min_snr_gamma if self._training else None
        if gamma is None:
            return errors
        snr = compute_snr(self.schedule, time)
        return errors * snr.clamp(max=gamma) / (snr + 1 if self.velocity else snr)


OBJECTIVES: dict[str, Callable[[Mapping[str, Any], Optional[Training]], Objective]] = {
    "diffusion": Diffusion,
    "flow": Flow,
}
"""By what a family says of itself."""


def objective_of(models: Models, training: Optional[Training] = None) -> Objective:
    """What the models' denoiser is trained with."""
    return OBJECTIVES[models.family.objective](models.schedule(), training)


@dataclass(frozen=True)
class Draw:
    """The random choices for one sample in one epoch."""

    timestep: float
    noise: np.ndarray
    """float32 (channels, h, w), standard normal."""
    latent_noise: np.ndarray
    """float32 (channels, h, w), standard normal: which latent of the encoder's distribution."""
    drop_caption: bool
    flip: bool
    """Whether the mirrored picture is seen, where training mirrors at all."""


def draw(
    seed: int, epoch: int, sample_id: str, shape: Sequence[int], objective: Objective, caption_dropout: float
) -> Draw:
    """A function of (seed, epoch, sample id): the same for every number of processes, batch split and resume."""
    g = generator(seed, "objective", epoch, sample_id)
    timestep = objective.draw(g)
    drop = bool(g.random() < caption_dropout)
    noise = g.standard_normal(tuple(shape), dtype=np.float32)
    latent_noise = g.standard_normal(tuple(shape), dtype=np.float32)
    flip = bool(g.random() < 0.5)
    timestep = objective.finish(g, timestep, noise)
    return Draw(timestep, noise, latent_noise, drop, flip)


@dataclass
class Batch:
    """One micro-batch on the device: latents and noise (n, channels, h, w), timesteps (n,), and what stands for the captions."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    text: Conditions
    """Conditions, or tokens where an encoder trains."""
    pictures: Sequence[Picture] = (Picture.whole((0, 0)),)
    """One each, or one for all."""
    prior: int = 0
    """So many of the first hold the model to what it was (t2i/training/prior.py)."""
    weights: Optional[torch.Tensor] = None
    """float32 (n,): how much each counts; None: all alike."""

    def counted(self, each: torch.Tensor) -> torch.Tensor:
        """Losses (n,), each as much as its sample counts."""
        return each if self.weights is None else each * self.weights


class Denoiser(nn.Module):
    """The trainable networks as one module, so that one wrapper (DDP, autocast) covers whatever trains."""

    def __init__(self, models: Models, text_trains: bool) -> None:
        super().__init__()
        self.models, self.text_trains = models, text_trains
        # nn.Module keeps frozen text encoders out of the wrapper: what they say comes from the cache.
        names = models.family.trained if text_trains else (models.family.denoiser,)
        self.networks = nn.ModuleDict({name: models.modules[name] for name in names})

    def forward(
        self, latents: torch.Tensor, times: torch.Tensor, text: Conditions, pictures: Sequence[Picture]
    ) -> torch.Tensor:
        """Prediction (n, channels, h, w). text: conditions, or tokens where the encoders train."""
        conditions = self.models.family.read(self.models, text) if self.text_trains else text
        return self.models.family.predict(self.models, latents, times, conditions, pictures)


Targets = Callable[[torch.Tensor, Batch, torch.Tensor], torch.Tensor]
"""From noisy latents, batch and target, each (n, channels, h, w), to the target that is meant."""


def losses(
    denoiser: nn.Module,
    objective: Objective,
    batch: Batch,
    dtype: torch.dtype = torch.float32,
    targets: Targets = lambda noisy, batch, target: target,
) -> torch.Tensor:
    """Loss per sample, float32 (n,): squared error of the prediction, averaged over the latent and weighted by its time.

    targets: puts others in the place of some.
    """
    noisy = objective.noisy(batch.latents, batch.noise, batch.timesteps).to(dtype)
    target = targets(noisy, batch, objective.target(batch.latents, batch.noise, batch.timesteps))
    prediction = denoiser(noisy, batch.timesteps, batch.text, batch.pictures)
    errors = (prediction.float() - target.float()).pow(2).mean(dim=(1, 2, 3))
    return objective.weighted(errors, batch.timesteps)
