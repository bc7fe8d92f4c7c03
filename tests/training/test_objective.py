"""The denoising loss against the formulas of the papers, and random choices that belong to the sample alone."""

import numpy as np
import pytest
import torch
from torch import nn

from t2i.models.families.picture import Picture
from t2i.models.load import Models
from t2i.models.text import tokenize
from t2i.training.config import Timesteps, Training
from t2i.training.objective import Batch, Denoiser, Diffusion, Draw, losses, objective_of
from t2i.training.objective import draw as drawn

from ..models.toy import SCHEDULE, states

SHAPE = (4, 8, 8)
TIMESTEPS = torch.tensor([0, 300, 999])


class Halves(nn.Module):
    """A prediction that one can compute by hand: half of the noisy latents."""

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, text: object, pictures: object) -> torch.Tensor:
        return 0.5 * latents


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and noise (3, 4, 8, 8)."""
    g = torch.Generator().manual_seed(0)
    return torch.randn(3, *SHAPE, generator=g), torch.randn(3, *SHAPE, generator=g)


def kept_signal(timesteps: torch.Tensor) -> torch.Tensor:
    """The cumulative product of 1 - beta (3, 1, 1, 1) of the scaled-linear schedule, written out in float64."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return torch.from_numpy(np.cumprod(1 - betas))[timesteps].reshape(-1, 1, 1, 1)


def objective(prediction_type: str, gamma: float | None = None, timesteps: int = 1000) -> Diffusion:
    settings = {"prediction_type": prediction_type, "num_train_timesteps": timesteps}
    return Diffusion(SCHEDULE | settings, Training(min_snr_gamma=gamma))


def draw(
    seed: int, epoch: int, name: str, shape: tuple[int, ...], timesteps: int, dropout: float,
    config: Training | None = None,
) -> Draw:  # fmt: skip
    """The choices for one sample under the toy's schedule of so many timesteps."""
    return drawn(seed, epoch, name, shape, Diffusion(SCHEDULE | {"num_train_timesteps": timesteps}, config), dropout)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("gamma", [None, 5.0])
def test_loss_is_that_of_the_papers(
    inputs: tuple[torch.Tensor, torch.Tensor], prediction_type: str, gamma: float | None
) -> None:
    latents, noise = inputs
    a = kept_signal(TIMESTEPS)
    noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
    target = noise if prediction_type == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * latents
    expected = ((0.5 * noisy - target) ** 2).mean(dim=(1, 2, 3))
    if gamma is not None:
        snr = (a / (1 - a)).flatten()
        expected = expected * snr.clamp(max=gamma) / (snr if prediction_type == "epsilon" else snr + 1)
    found = losses(Halves(), objective(prediction_type, gamma), Batch(latents, noise, TIMESTEPS, {}))
    assert found.dtype is torch.float32 and found.shape == (3,)
    assert torch.allclose(found.double(), expected, rtol=1e-4)


def test_min_snr_weights_have_their_known_ends(inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    latents, noise = inputs
    data = Batch(latents, noise, TIMESTEPS, {})
    plain = losses(Halves(), objective("epsilon"), data)
    weighted = losses(Halves(), objective("epsilon", 5.0), data)
    assert torch.equal(losses(Halves(), objective("epsilon", 5.0).plain, data), plain), "losses that can be compared"
    weights = weighted / plain
    # step 0 keeps 1 - 0.00085 of the signal: SNR = 0.99915 / 0.00085; the last step has SNR < 5 and weight 1
    assert weights[0].item() == pytest.approx(5.0 * 0.00085 / 0.99915, rel=1e-3)
    assert weights[2].item() == pytest.approx(1.0)


def test_loss_of_the_real_network_is_the_mean_squared_error_of_its_noise(
    models: Models, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    latents, noise = inputs
    noise_schedule = objective("epsilon").schedule
    text = states(models, ["a cat", "a bus", ""])
    with torch.no_grad():
        data = Batch(latents, noise, TIMESTEPS, {"states": text})
        found = losses(Denoiser(models, False), objective_of(models), data)
        for i in range(3):
            noisy = noise_schedule.add_noise(latents[i : i + 1], noise[i : i + 1], TIMESTEPS[i : i + 1])
            prediction = models.unet(noisy, TIMESTEPS[i : i + 1], encoder_hidden_states=text[i : i + 1]).sample
            expected = torch.nn.functional.mse_loss(prediction, noise[i : i + 1])
            assert found[i].item() == pytest.approx(expected.item(), rel=1e-5)


def test_denoiser_reads_token_ids_when_it_holds_the_text_encoder(
    models: Models, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    latents, _ = inputs
    captions = ["a cat", "a bus", ""]
    with torch.no_grad():
        pictures = [Picture.whole((16, 16))]
        frozen = Denoiser(models, False)(latents, TIMESTEPS, {"states": states(models, captions)}, pictures)
        trained = Denoiser(models, True)(latents, TIMESTEPS, {"ids": tokenize(models, captions)}, pictures)
    assert torch.equal(frozen, trained)


def test_draw_is_a_function_of_seed_epoch_and_sample_alone() -> None:
    first = draw(0, 3, "cat", SHAPE, 1000, 0.1)
    np.random.seed(7)
    torch.manual_seed(7)
    draw(1, 2, "dog", SHAPE, 1000, 0.1)
    again = draw(0, 3, "cat", SHAPE, 1000, 0.1)
    assert (first.timestep, first.drop_caption) == (again.timestep, again.drop_caption)
    assert np.array_equal(first.noise, again.noise) and np.array_equal(first.latent_noise, again.latent_noise)
    for other in ((1, 3, "cat"), (0, 4, "cat"), (0, 3, "dog"), (0, 3, "3")):
        assert not np.array_equal(first.noise, draw(*other, SHAPE, 1000, 0.1).noise)


def test_caption_dropout_changes_neither_noise_nor_timestep() -> None:
    with_captions, without = draw(0, 0, "cat", SHAPE, 1000, 0.0), draw(0, 0, "cat", SHAPE, 1000, 1.0)
    assert without.drop_caption and not with_captions.drop_caption
    assert with_captions.timestep == without.timestep and np.array_equal(with_captions.noise, without.noise)


def test_draws_have_their_distributions() -> None:
    draws = [draw(0, 0, f"sample {i}", (1, 2, 2), 1000, 0.15) for i in range(4000)]
    timesteps = np.array([d.timestep for d in draws])
    # four standard errors: 288.7 / sqrt(4000) = 4.6 for the mean timestep, sqrt(0.15 * 0.85 / 4000) = 0.0056
    assert 0 <= timesteps.min() < 5 and 994 < timesteps.max() <= 999
    assert abs(timesteps.mean() - 499.5) < 18.3
    assert abs(np.mean([d.drop_caption for d in draws]) - 0.15) < 0.0226
    noise = np.stack([[d.noise, d.latent_noise] for d in draws])
    assert noise.dtype == np.float32
    # 16,000 normal numbers of each kind: standard errors 0.0079 and 0.0056
    assert abs(noise.mean((0, 2, 3, 4))).max() < 0.032 and abs(noise.std((0, 2, 3, 4)) - 1).max() < 0.023
    assert abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.032


def test_every_timestep_can_be_drawn() -> None:
    assert {draw(0, epoch, "cat", (1, 1, 1), 10, 0.0).timestep for epoch in range(200)} == set(range(10))


def test_timesteps_stay_in_their_range_and_middle_ones_come_more_often() -> None:
    def steps(**settings: object) -> np.ndarray:
        config = Training(**settings)  # type: ignore[arg-type]
        return np.array([draw(0, epoch, "17", (4, 2, 2), 1000, 0.0, config).timestep for epoch in range(2000)])

    assert (steps() == [draw(0, epoch, "17", (4, 2, 2), 1000, 0.0).timestep for epoch in range(2000)]).all()
    part = steps(timestep_range=[200, 300])
    assert part.min() >= 200 and part.max() <= 299 and len(set(part.tolist())) == 100
    # the logistic of a standard normal lies between 1/4 and 3/4 when |x| < ln 3: 72.8 % of the time
    middle = steps(timesteps=Timesteps.logit_normal)
    share = ((middle >= 250) & (middle < 750)).mean()
    assert abs(share - 0.728) < 4 * (0.728 * 0.272 / 2000) ** 0.5
    both = steps(timesteps=Timesteps.logit_normal, timestep_range=[200, 300])
    assert both.min() >= 200 and both.max() <= 299


def test_noise_offset_moves_each_channel_by_one_number() -> None:
    plain = draw(0, 1, "17", (4, 8, 8), 1000, 0.0)
    moved = draw(0, 1, "17", (4, 8, 8), 1000, 0.0, Training(noise_offset=0.5))
    difference = moved.noise - plain.noise
    assert np.allclose(difference, difference[:, :1, :1], atol=1e-6)
    assert (moved.timestep, moved.flip) == (plain.timestep, plain.flip)
    offsets = [
        draw(0, epoch, "17", (4, 1, 1), 1000, 0.0, Training(noise_offset=0.5)).noise
        - draw(0, epoch, "17", (4, 1, 1), 1000, 0.0).noise
        for epoch in range(500)
    ]
    assert abs(float(np.std(offsets)) - 0.5) < 4 * 0.5 / (2 * 2000) ** 0.5
