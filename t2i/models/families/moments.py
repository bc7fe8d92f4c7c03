"""What an autoencoder of Kullback and Leibler's kind says of a picture, and the latents that are drawn from it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def drawn(moments: "Tensor", noise: "Tensor") -> "Tensor":
    """Latents (n, channels, h, w) as the autoencoder knows them, from mean and log-variance side by side, (n, 2 * channels, h,
    w), and standard normal noise of the latents' shape.
    """
    mean, log_variance = moments.chunk(2, dim=1)
    return mean + (0.5 * log_variance.clamp(-30.0, 20.0)).exp() * noise
