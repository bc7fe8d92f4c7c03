"""What a picture will look like, from its latents alone: cheap enough to be shown at every step."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from t2i.data.scenes.world import describe, render
from t2i.models.latents import encode_moments
from t2i.models.load import Models

KERNEL = 3


@dataclass(frozen=True)
class Preview:
    """A linear decoder: each 3 x 3 neighbourhood of latents to the block of pixels in its middle."""

    weight: torch.Tensor
    """(3 * factor**2, channels, 3, 3)"""
    bias: torch.Tensor
    factor: int
    """Pixels per latent in each direction."""

    @classmethod
    def fit(cls, models: Models, pictures: int = 24, ridge: float = 1e-2) -> "Preview":
        """The least-squares map from the VAE's latents of drawn scenes to their pixels, with a little ridge.

        About `pictures` x 64 latents for a few hundred coefficients: a second of work, once per server.
        """
        # Drawn larger than 64 pixels, a scene says little more about colours and takes longer to encode.
        size = min(models.resolution, 256)
        pixels = np.stack([np.asarray(render(describe(0, i), size).convert("RGB")) for i in range(pictures)])
        moments = torch.cat([encode_moments(models, pixels[i : i + 4]) for i in range(0, pictures, 4)])
        latents = moments.chunk(2, dim=1)[0].float().cpu() * models.vae.config["scaling_factor"]
        factor = size // latents.shape[-1]
        targets = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        inputs = F.unfold(_padded(latents), KERNEL).transpose(1, 2).flatten(0, 1)
        inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
        outputs = F.pixel_unshuffle(targets, factor).flatten(2).transpose(1, 2).flatten(0, 1).double()
        gram = inputs.T @ inputs + ridge * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(gram, inputs.T @ outputs).float()
        weight = solution[:-1].T.reshape(-1, latents.shape[1], KERNEL, KERNEL)
        return cls(weight.contiguous(), solution[-1].contiguous(), factor)

    def picture(self, latents: torch.Tensor) -> np.ndarray:
        """uint8 (height, width, 3) for latents (channels, h, w) of any step.

        Where the noise is scaled up (Euler, Heun), it is brought back to the spread of finished latents.
        """
        values = latents.float().cpu()
        values = values / max(1.0, float(values.std()))
        blocks = F.conv2d(_padded(values[None]), self.weight, self.bias)
        image = F.pixel_shuffle(blocks, self.factor)[0].clamp(-1, 1)
        pixels: np.ndarray = ((image + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return pixels


def _padded(latents: torch.Tensor) -> torch.Tensor:
    return F.pad(latents, (1, 1, 1, 1), mode="replicate")
