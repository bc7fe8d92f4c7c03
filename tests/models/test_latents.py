"""Pictures to latents and back."""

import numpy as np
import pytest
import torch

from t2i.errors import UserError
from t2i.models.latents import decode, draw_latents, encode_moments
from t2i.models.load import Models
from t2i.randomness import generator


@pytest.fixture
def pixels() -> np.ndarray:
    """uint8 (3, 16, 16, 3)."""
    return generator("pixels").integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def test_latents_are_those_of_the_encoders_distribution(models: Models, pixels: np.ndarray) -> None:
    moments = encode_moments(models, pixels)
    assert moments.shape == (3, 8, 8, 8) and moments.dtype is torch.float32
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    distribution = models.vae.encode(images).latent_dist
    noise = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = (distribution.mean + distribution.std * noise) * models.vae.config["scaling_factor"]
    assert torch.allclose(draw_latents(models, moments, noise), expected, atol=1e-6)
    assert torch.allclose(draw_latents(models, moments, 0 * noise), distribution.mode() * 0.5, atol=1e-6)


def test_decoding_rounds_and_clamps(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([-1.5, -1.0, 0.0, 1.004 / 127.5 - 1, 0.999, 1.0, 1.5])
    monkeypatch.setattr(
        models.vae, "decode", lambda latents, return_dict: (values.reshape(1, 1, 1, 7).repeat(1, 3, 1, 1),)
    )
    assert decode(models, torch.zeros(1, 4, 1, 7))[0, 0, :, 0].tolist() == [0, 0, 128, 1, 255, 255, 255]


def test_a_picture_that_is_not_finite_is_refused_and_not_shown_black(models: Models) -> None:
    with torch.no_grad():
        models.vae.decoder.conv_in.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        decode(models, torch.zeros(1, 4, 8, 8))
