"""Stable Diffusion 3.5 medium at full size on a CPU: it trains and draws in the memory that is said here."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from t2i.config import compose
from t2i.models.latents import decode, draw_latents, encode_moments
from t2i.models.load import load
from t2i.models.parts import Models
from t2i.sampling.config import Guidance
from t2i.sampling.sampler import denoise
from t2i.store import Store
from t2i.training.config import Training
from t2i.training.lora import Lora
from t2i.training.objective import Batch, Denoiser, losses, objective_of

OPTIONS = ["model=sd35_medium", "model.init=random", "model.without=[text_encoder_3]", "model.resolution=256"]


def trained_and_drawn(models: Models) -> tuple[list[float], np.ndarray]:
    """Losses of two LoRA steps on one picture of noise, and a picture of two steps, uint8 (1, 256, 256, 3)."""
    captions, none = models.family.conditions(models, ["a red bus on a street"]), models.family.unconditional(models)
    for name in models.family.encoders:
        models.modules[name].to("meta")  # cached, they are not needed any more
    strategy = Lora()
    strategy.attach(models)
    models.denoiser.enable_gradient_checkpointing()
    objective, denoiser = objective_of(models, Training()), Denoiser(models, text_trains=False)
    g = torch.Generator().manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), np.uint8)
    noises = [torch.randn(models.latent_shape(1), generator=g) for _ in range(2)]
    latents = draw_latents(models, encode_moments(models, pixels), noises[0])
    batch = Batch(latents, noises[1], objective.tensor([500.0]), captions)
    optimizer, found = torch.optim.AdamW(strategy.trainable(models).values(), lr=1e-3), []
    for _ in range(2):
        loss = losses(denoiser, objective, batch).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(float(loss.detach()))
    models.freeze()
    scheduler = compose(["model=sd35_medium", "scheduler.steps=2"]).scheduler
    drawn = denoise(models, captions, none, [0], scheduler, Guidance(scale=1.0))
    return found, decode(models, drawn)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_steps_and_a_picture_at_full_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """3,145,301,347 parameters without T5 are 11.7 GiB in float32, 8.7 once the text encoders are gone."""
    models = load(compose(OPTIONS).model, Store(tmp_path / "store"))
    found, picture = trained_and_drawn(models)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with capsys.disabled():
        print(f"\nlosses {found[0]:.4f}, {found[1]:.4f}; peak memory {peak:.1f} GiB")
    assert all(np.isfinite(found)) and found[1] < found[0], "the same picture, noise and time"
    assert picture.shape == (1, 256, 256, 3) and picture.std() > 0
    assert peak < 16
