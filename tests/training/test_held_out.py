"""The loss at eight equidistant times: what diffusers' classes give by hand, the same noise for all models, any split of work."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusion3Pipeline, StableDiffusionPipeline

from t2i.config import compose
from t2i.evaluation.metrics import held_out_loss
from t2i.evaluation.metrics.measurement import Inputs
from t2i.models.config import Model
from t2i.models.load import load
from t2i.models.parts import Models
from t2i.models.source import BUNDLED
from t2i.randomness import generator
from t2i.store import Store
from t2i.training import held_out
from t2i.training.attention import Attn2ToV
from t2i.training.held_out import TIMES, definition, held_out_losses
from t2i.training.objective import objective_of

from .conftest import Pictures, pictures

SEED, ROWS = 5, [0, 2]


class Wide(Pictures):
    """At the bundled models' size, from files of another one."""

    @property
    def sizes(self) -> np.ndarray:
        return np.full((len(self), 2), 64, np.int32)

    @property
    def originals(self) -> np.ndarray:
        return np.array([(96 + i, 128) for i in range(len(self))], np.int32)

    def pixels(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 (N, 64, 64, 3)."""
        return np.stack([generator(self.ids[i]).integers(0, 256, (64, 64, 3), dtype=np.uint8) for i in indices])


def wide() -> Wide:
    own = pictures("held", 3)
    return Wide(own.name, own.ids, own.captions)


def by_hand(
    split: Wide, latents: Callable[[torch.Tensor], torch.Tensor], loss: Callable[..., torch.Tensor]
) -> list[list[float]]:
    """latents: of pixels on [-1, 1]. loss: of latents, noise, k and caption, each picture and time by itself."""
    found = []
    for row in ROWS:
        pixels = torch.from_numpy(split.pixels([row])).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = latents(pixels)
        own = []
        for k in range(8):
            noise = generator(SEED, "held-out loss", split.ids[row], k).standard_normal(x.shape[1:], dtype=np.float32)
            own.append(float(loss(x, torch.from_numpy(noise)[None], k, split.captions[row][0])))
        found.append(own)
    return found


@torch.no_grad()
def test_of_velocity_it_is_what_plain_diffusers_gives(tmp_path: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(BUNDLED, safety_checker=None, torch_dtype=torch.float32)
    schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    assert schedule.config.prediction_type == "v_prediction"

    def loss(x: torch.Tensor, noise: torch.Tensor, k: int, caption: str) -> torch.Tensor:
        time = torch.tensor([125 * k])
        text = pipeline.encode_prompt(caption, "cpu", 1, False)[0]
        noisy = schedule.add_noise(x, noise, time)
        prediction = pipeline.unet(noisy, time, encoder_hidden_states=text).sample
        return (prediction - schedule.get_velocity(x, noise, time)).pow(2).mean()

    vae = pipeline.vae
    expected = by_hand(wide(), lambda p: vae.encode(p).latent_dist.mean * vae.config.scaling_factor, loss)
    models = load(compose([]).model, Store(tmp_path))
    found = held_out_losses(models, wide(), ROWS, SEED)
    assert found == pytest.approx(np.array(expected), rel=2e-5)
    assert definition(models, wide(), 2, SEED)["times"] == [0, 125, 250, 375, 500, 625, 750, 875]
    assert definition(models, wide(), 2, SEED)["predicts"] == "velocity"


@torch.no_grad()
def test_of_noise_with_sizes_and_pooled_states_it_is_what_plain_diffusers_gives(tmp_path: Path) -> None:
    models = load(compose(["model=tiny_sdxl"]).model, Store(tmp_path))
    pipeline, split = models.pipeline(), wide()
    schedule, vae = DDPMScheduler.from_config(pipeline.scheduler.config), pipeline.vae
    assert schedule.config.prediction_type == "epsilon"

    def loss(x: torch.Tensor, noise: torch.Tensor, k: int, caption: str) -> torch.Tensor:
        row = [own[0] for own in split.captions].index(caption)
        width, height = split.originals[row].tolist()
        left, top = split.corner(row)
        time = torch.tensor([125 * k])
        text, _, pooled, _ = pipeline.encode_prompt(caption, device="cpu", do_classifier_free_guidance=False)
        told = {"text_embeds": pooled, "time_ids": torch.tensor([[height, width, top, left, 64, 64]])}
        noisy = schedule.add_noise(x, noise, time)
        prediction = pipeline.unet(noisy, time, encoder_hidden_states=text, added_cond_kwargs=told).sample
        return (prediction - noise).pow(2).mean()

    expected = by_hand(split, lambda p: vae.encode(p).latent_dist.mean * vae.config.scaling_factor, loss)
    assert held_out_losses(models, split, ROWS, SEED) == pytest.approx(np.array(expected), rel=2e-5)


@torch.no_grad()
def test_of_flow_it_is_what_plain_diffusers_gives(tmp_path: Path) -> None:
    folder = BUNDLED.parent / "tiny_flow"
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)
    vae = pipeline.vae

    def latents(pixels: torch.Tensor) -> torch.Tensor:
        return (vae.encode(pixels).latent_dist.mean - vae.config.shift_factor) * vae.config.scaling_factor

    def loss(x: torch.Tensor, noise: torch.Tensor, k: int, caption: str) -> torch.Tensor:
        text, _, pooled, _ = pipeline.encode_prompt(caption, None, None, do_classifier_free_guidance=False)
        share = k / 8
        prediction = pipeline.transformer(
            (1 - share) * x + share * noise,
            timestep=torch.tensor([1000.0 * share]),
            encoder_hidden_states=text,
            pooled_projections=pooled,
        ).sample
        return (prediction - (noise - x)).pow(2).mean()

    models = load(compose(["model=tiny_flow", "scheduler=flow_euler"]).model, Store(tmp_path))
    found = held_out_losses(models, wide(), ROWS, SEED)
    assert found == pytest.approx(np.array(by_hand(wide(), latents, loss)), rel=2e-4)
    assert definition(models, wide(), 2, SEED)["predicts"] == "flow"


def of(models: Models, rows: Sequence[int] = range(6), seed: int = SEED) -> np.ndarray:
    return held_out_losses(models, pictures("held", 6), rows, seed)  # type: ignore[arg-type]


def test_a_picture_has_one_loss_whatever_else_is_measured(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the number is the same for any number of processes, and of any pictures together."""
    whole = of(models)
    parts = np.empty_like(whole)
    parts[::2], parts[1::2] = of(models, [0, 2, 4]), of(models, [1, 3, 5])
    assert (parts == whole).all()
    monkeypatch.setattr(held_out, "TOGETHER", 2)
    assert (of(models) == whole).all()
    assert whole.shape == (6, TIMES) and len(np.unique(whole)) == whole.size


def inputs(losses: np.ndarray) -> Inputs:
    return Inputs(np.empty((9, 0), np.float32), 0, held_out_losses=losses)


def test_a_model_against_itself_has_not_changed_and_other_noise_is_found(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = inputs(of(models))
    same = held_out_loss.difference(first, inputs(of(models)))["held_out_loss@8"]
    assert (same.difference.value, same.difference.low, same.difference.high, same.p) == (0, 0, 0, 1)

    plain = held_out._noise
    monkeypatch.setattr(held_out, "_noise", lambda sample_id, shape, seed: plain(f"{sample_id} tuned", shape, seed))
    planted = held_out_loss.difference(first, inputs(of(models)))["held_out_loss@8"]
    assert planted.difference.value != 0 and planted.standard_error > 0


def test_tuned_weights_are_compared_picture_by_picture(
    toy: Model, loaded: Callable[[Model], Models], models: Models
) -> None:
    """Under the same noise the change of a hardly changed model is far smaller than what pictures differ by."""
    tuned, strategy = loaded(toy), Attn2ToV()
    strategy.attach(tuned)
    with torch.no_grad():
        for parameter in strategy.trainable(tuned).values():
            parameter *= 1.05
    before, after = inputs(of(models)), inputs(of(tuned))
    change = held_out_loss.difference(before, after)["held_out_loss@8"]
    spread = held_out_loss.measure(before)["held_out_loss@8"].interval
    assert change.difference.value != 0 and change.pairs == 6
    assert change.difference.high - change.difference.low < 0.2 * (spread.high - spread.low)
    means = [own.held_out_losses.mean() for own in (before, after) if own.held_out_losses is not None]
    assert change.difference.value == pytest.approx(means[1] - means[0], rel=1e-9)


def test_what_makes_two_losses_two_quantities_is_in_the_definition(models: Models) -> None:
    """Another schedule of noise, other latents, another seed."""
    own = definition(models, pictures("held", 6), 6, SEED)  # type: ignore[arg-type]

    def changed(**configuration: object) -> set[str]:
        config = models.scheduler_config | configuration
        found = definition(replace(models, scheduler_config=config), pictures("held", 6), 6, SEED)  # type: ignore[arg-type]
        return {key for key in own if own[key] != found[key]}

    assert changed(rescale_betas_zero_snr=True) == {"schedule_sha256"}
    assert changed(prediction_type="v_prediction") == {"predicts"}
    assert changed(timestep_spacing="trailing", clip_sample=False) == set()  # how it is drawn, not how it is trained
    assert own["pictures_sha256"] != definition(models, pictures("held", 6), 5, SEED)["pictures_sha256"]  # type: ignore[arg-type]
    with torch.no_grad():
        next(models.vae.parameters())[0] += 0.1
    assert definition(models, pictures("held", 6), 6, SEED)["autoencoder_sha256"] != own["autoencoder_sha256"]  # type: ignore[arg-type]
    assert objective_of(models).starts(4) == [0, 250, 500, 750]
