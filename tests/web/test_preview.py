"""The preview: what least squares promises, and the noise that schedulers leave in their latents."""

import numpy as np
import pytest
import torch

from t2i.config import compose
from t2i.data.sources.scenes.world import describe, render
from t2i.models.latents import encode_moments
from t2i.models.load import Models, load
from t2i.store import Store
from t2i.web.preview import Preview, noise_levels


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return load(compose([]).model, Store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def preview(tiny: Models) -> Preview:
    return Preview.fit(tiny)


def error(shown: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((shown.astype(float) - truth) ** 2))


def test_previews_show_pictures_that_the_fit_has_not_seen(tiny: Models, preview: Preview) -> None:
    truth = np.stack([np.asarray(render(describe(1, i), 64)) for i in range(6)])
    latents = encode_moments(tiny, truth).chunk(2, dim=1)[0] * tiny.vae.config["scaling_factor"]
    shown = np.stack([preview.picture(each) for each in latents])
    assert shown.shape == (6, 64, 64, 3) and shown.dtype == np.uint8
    assert error(shown, truth) < 0.5 * truth.astype(float).var()  # says more than half of what is in a picture


def test_knowing_the_noise_makes_a_better_preview(tiny: Models, preview: Preview) -> None:
    truth = np.stack([np.asarray(render(describe(1, i), 64)) for i in range(6)])
    latents = encode_moments(tiny, truth).chunk(2, dim=1)[0] * tiny.vae.config["scaling_factor"]
    generator = torch.Generator().manual_seed(0)
    for noise in (1.0, 4.0):
        noisy = latents + noise * torch.randn(latents.shape, generator=generator)
        errors = [
            error(np.stack([preview.picture(each, believed) for each in noisy]), truth)
            for believed in (noise / 4, noise, noise * 4)
        ]
        assert errors[1] < 0.9 * errors[0] and errors[1] < 0.97 * errors[2], errors


def test_in_nothing_but_noise_every_block_is_the_mean_block(preview: Preview) -> None:
    shown = preview.picture(torch.randn(16, 8, 8, generator=torch.Generator().manual_seed(0)), noise=1e6)
    blocks = shown.reshape(8, 8, 8, 8, 3).swapaxes(1, 2)
    assert np.ptp(blocks.astype(int), axis=(0, 1)).max() <= 1


@pytest.mark.parametrize("name", ["ddim", "pndm", "dpmpp_2m", "euler", "heun", "lcm", "dpmpp_2m_karras"])
def test_latents_are_scaled_as_the_scheduler_noises_them(tiny: Models, name: str) -> None:
    """`add_noise` of diffusers says where the latents of a picture are at a timestep."""
    scheduler = compose([f"scheduler={name}", "scheduler.steps=8"]).scheduler.start(tiny.scheduler_config)
    levels = noise_levels(scheduler)
    assert len(levels) == len(scheduler.timesteps)
    assert levels[-1] == (1.0, 0.0)
    clean, pure = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 3.0)
    step = 3
    for timestep in scheduler.timesteps[step : step + 1]:
        noised = float(scheduler.add_noise(clean, pure, timestep[None]))
        scale, noise = levels[step - 1]
        assert scale * (2.0 + noise * 3.0) == pytest.approx(noised, rel=0.02)


def test_the_bundled_model_is_where_it_was_fitted(preview: Preview) -> None:
    assert preview.factor == 8
    assert preview.inputs.shape == (145, 145) and preview.outputs.shape == (145, 192)
    assert float(preview.inputs[-1, -1]) == pytest.approx(1.0)
