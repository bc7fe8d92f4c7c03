"""Pictures to latents and back: the border between uint8 and what a family computes with."""

import numpy as np
import torch

from t2i.errors import UserError
from t2i.models.parts import Models


@torch.no_grad()
def encode_moments(models: Models, pixels: np.ndarray) -> torch.Tensor:
    """Mean and log-variance of the latents, (N, 2 * channels, h, w) in the VAE's dtype, for uint8 pixels (N, H, W, 3).

    The moments are kept rather than one sample, so that training draws a fresh latent each time.
    """
    parameter = next(models.vae.parameters())
    images = torch.from_numpy(pixels).to(parameter.device).permute(0, 3, 1, 2).to(parameter.dtype) / 127.5 - 1
    return models.family.encode(models, images)


def draw_latents(models: Models, moments: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Scaled latents (N, channels, h, w) from moments and standard normal `noise`."""
    return models.family.latents(models, moments, noise)


@torch.no_grad()
def decode(models: Models, latents: torch.Tensor) -> np.ndarray:
    """Latents to uint8 pictures (n, H, W, 3), rounded and clamped (truncation would turn 1.004 into 0).

    Raises UserError when a picture is not finite: it would be shown black.
    """
    images = models.family.decode(models, latents)
    if not bool(images.isfinite().all()):
        raise UserError("the model's output is not finite; try launch.mixed_precision=no, or other weights")
    images = (images.float() / 2 + 0.5).clamp(0, 1) * 255
    pixels: np.ndarray = images.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return pixels
