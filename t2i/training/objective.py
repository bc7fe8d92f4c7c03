"""What is minimised: the denoising loss of latent diffusion, with all randomness a function of the sample."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import nn

from t2i.randomness import generator
from t2i.training.config import Timesteps, Training


@dataclass(frozen=True)
class Draw:
    """The random choices for one sample in one epoch."""

    timestep: int
    noise: np.ndarray
    """float32 (channels, h, w), standard normal."""
    latent_noise: np.ndarray
    """float32 (channels, h, w), standard normal: which latent of the encoder's distribution."""
    drop_caption: bool
    flip: bool
    """Whether the mirrored picture is seen, where training mirrors at all."""


def draw(
    seed: int,
    epoch: int,
    sample_id: str,
    shape: Sequence[int],
    timesteps: int,
    caption_dropout: float,
    config: Optional[Training] = None,
) -> Draw:
    """A function of (seed, epoch, sample id): the same for every number of processes, batch split and resume.

    `config`: range and weighting of the timesteps, and the noise offset; without it, all of them alike and none.
    """
    g = generator(seed, "objective", epoch, sample_id)
    low, high = config.timestep_range if config else (0, timesteps)
    timestep = int(g.integers(low, min(high, timesteps)))
    drop = bool(g.random() < caption_dropout)
    noise = g.standard_normal(tuple(shape), dtype=np.float32)
    latent_noise = g.standard_normal(tuple(shape), dtype=np.float32)
    flip = bool(g.random() < 0.5)
    if config and config.timesteps is Timesteps.logit_normal:
        share = 1 / (1 + math.exp(-g.standard_normal()))  # Esser et al. 2024, eq. 19 with m = 0, s = 1
        timestep = low + min(int(share * (min(high, timesteps) - low)), min(high, timesteps) - low - 1)
    if config and config.noise_offset:
        noise += config.noise_offset * g.standard_normal((shape[0], 1, 1), dtype=np.float32)
    return Draw(timestep, noise, latent_noise, drop, flip)


class Denoiser(nn.Module):
    """The trainable networks as one module, so that one wrapper (DDP, autocast) covers whatever trains."""

    def __init__(self, unet: nn.Module, text_encoder: Optional[nn.Module]) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Prediction (N, channels, h, w). text: states (N, tokens, width), or token ids (N, tokens) if the encoder trains."""
        states = text if self.text_encoder is None else self.text_encoder(text)[0]
        prediction: torch.Tensor = self.unet(latents, timesteps, encoder_hidden_states=states).sample
        return prediction


def losses(
    denoiser: nn.Module,
    noise_schedule: DDPMScheduler,
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    text: torch.Tensor,
    min_snr_gamma: Optional[float] = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Loss per sample, float32 (N,): squared error of the predicted noise or velocity, averaged over the latent.

    Ho et al. 2020, eq. 14; velocity: Salimans and Ho 2022; weight min(SNR, gamma) / SNR: Hang et al. 2023 (for velocity
    the division is by SNR + 1).
    """
    noisy = noise_schedule.add_noise(latents, noise, timesteps)
    prediction = denoiser(noisy.to(dtype), timesteps, text)
    velocity = noise_schedule.config["prediction_type"] == "v_prediction"
    target = noise_schedule.get_velocity(latents, noise, timesteps) if velocity else noise
    errors = (prediction.float() - target.float()).pow(2).mean(dim=(1, 2, 3))
    if min_snr_gamma is not None:
        snr = compute_snr(noise_schedule, timesteps)
        errors = errors * snr.clamp(max=min_snr_gamma) / (snr + 1 if velocity else snr)
    return errors
