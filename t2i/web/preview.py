"""What a picture will look like, from its latents in the making: cheap enough to be shown at every step."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import SchedulerMixin
from torch.nn import functional as F

from t2i.data.sources.scenes.world import describe, render
from t2i.models.latents import draw_latents, encode_moments
from t2i.models.parts import Models
from t2i.sampling.grid import flows

KERNEL = 3
LEAST_NOISE = 0.25
"""Keeps the fit well-posed for finished latents, whose neighbours are alike."""


@dataclass(frozen=True)
class Preview:
    """A linear decoder: each 3 x 3 neighbourhood of latents to the block of pixels in its middle, by least squares.

    Moments of `samples` neighbourhoods, each with a 1 at its end, in float64: they give the best map for every level of noise,
    because noise of variance v on the inputs adds v to the diagonal of their second moment (Bishop 1995).
    """

    inputs: torch.Tensor
    """Second moment of the neighbourhoods: (9 * channels + 1, 9 * channels + 1)."""
    outputs: torch.Tensor
    """Their moment with the pixels: (9 * channels + 1, 3 * factor**2)."""
    factor: int
    """Pixels per latent in each direction."""

    @classmethod
    def fit(cls, models: Models, pictures: int = 24) -> "Preview":
        """From the VAE's latents of drawn scenes and their pixels: a second of work, once per server."""
        # Drawn larger, a scene says little more about colours and takes longer to encode.
        size = min(models.resolution, 256)
        pixels = np.stack([np.asarray(render(describe(0, i), size).convert("RGB")) for i in range(pictures)])
        moments = torch.cat([encode_moments(models, pixels[i : i + 4]) for i in range(0, pictures, 4)])
        moments = moments.float().cpu()
        latents = draw_latents(models, moments, torch.zeros_like(moments[:, ::2]))  # their mean
        factor = size // latents.shape[-1]
        targets = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 127.5 - 1
        blocks = F.pixel_unshuffle(targets, factor).flatten(2).transpose(1, 2).flatten(0, 1)
        patches = F.unfold(_padded(latents.double()), KERNEL).transpose(1, 2).flatten(0, 1)
        patches = torch.cat([patches, torch.ones(len(patches), 1)], dim=1)
        return cls(patches.T @ patches / len(patches), patches.T @ blocks / len(patches), factor)

    def picture(self, latents: torch.Tensor, noise: float = 0.0) -> np.ndarray:
        """uint8 (height, width, 3), expected for finished latents plus `noise` times standard normal ones: (channels, h, w)."""
        values = latents.double().cpu()
        variance = torch.full((len(self.inputs),), max(noise, LEAST_NOISE) ** 2, dtype=torch.float64)
        variance[-1] = 0.0  # the 1 is no latent
        solution = torch.linalg.solve(self.inputs + variance.diag(), self.outputs)
        weight = solution[:-1].T.reshape(-1, len(values), KERNEL, KERNEL)
        blocks = F.conv2d(_padded(values[None]), weight, solution[-1])
        image = F.pixel_shuffle(blocks, self.factor)[0].clamp(-1, 1)
        pixels: np.ndarray = ((image + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return pixels


def noise_levels(scheduler: SchedulerMixin) -> list[tuple[float, float]]:
    """For the latents after every step of a started scheduler: what to divide them by, and the noise that is in them then.

    x = a (x0 + s n) with a**2 = abar(t), s**2 = (1 - abar) / abar (Ho et al. 2020, eq. 4); schedulers in the notation of
    Karras et al. (2022) start from more than unit noise and leave out a. Along a flow x = (1 - s) x0 + s e (Lipman et al. 2023).
    """
    if flows(scheduler):
        left = (1 - scheduler.sigmas.double()[1:]).clamp(min=1e-2)
        return list(zip(left.tolist(), ((1 - left) / left).tolist(), strict=True))
    shares = scheduler.alphas_cumprod.double()
    left = shares[scheduler.timesteps[1:].round().long().clamp(0, len(shares) - 1)].clamp(min=1e-4)
    scales = left.sqrt() if float(scheduler.init_noise_sigma) == 1 else torch.ones_like(left)
    return [*zip(scales.tolist(), ((1 - left) / left).sqrt().tolist(), strict=True), (1.0, 0.0)]


def _padded(latents: torch.Tensor) -> torch.Tensor:
    return F.pad(latents, (1, 1, 1, 1), mode="replicate")
