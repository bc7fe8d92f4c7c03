"""Training of Stable Diffusion XL: each picture with the sizes of its own file, and zeros for a dropped caption."""

from collections.abc import Callable

import pytest
import torch
from diffusers import DDPMScheduler

from t2i.data.captions import caption_choice
from t2i.interruption import Interrupted
from t2i.models.config import Model
from t2i.models.families.picture import Picture
from t2i.models.load import Models
from t2i.models.text import tokenize
from t2i.store import Store
from t2i.training.attention import Attn2ToV
from t2i.training.lora import Lora
from t2i.training.objective import Denoiser, draw, losses, objective_of
from t2i.training.strategies import Strategy, TextEncoder

from ..models.toy import write_sdxl
from . import conftest
from .conftest import RATE, Start, latents, pictures, training
from .test_loop import equal, interrupt_after, weights

CPU, DROPOUT, SIDE = torch.device("cpu"), 0.4, 64
TRAINED: dict[str, Strategy] = {
    "attn2_to_v": Attn2ToV(learning_rate=RATE),
    "lora": Lora(learning_rate=RATE, text_targets=["q_proj", "v_proj"]),
    "second text encoder": TextEncoder(learning_rate=RATE, encoders=["text_encoder_2"]),
}


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """What the fixtures of this file train."""
    return write_sdxl(tmp_path_factory.mktemp("models") / "toy_sdxl")


@pytest.fixture(autouse=True)
def as_large_as_it_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "RESOLUTION", SIDE)


def plain_loss(models: Models, epoch: int, position: int) -> float:
    """One sample from its pixels, its caption and its sizes, as the paper has it, in calls of diffusers alone."""
    split, schedule = pictures("train", 10), DDPMScheduler.from_config(models.scheduler_config)
    choice = draw(0, epoch, split.ids[position], (4, 8, 8), objective_of(models), DROPOUT)
    pixels = torch.from_numpy(split.pixels([position])).permute(0, 3, 1, 2) / 127.5 - 1
    distribution = models.vae.encode(pixels).latent_dist
    latent = 0.13025 * (distribution.mean + distribution.std * torch.from_numpy(choice.latent_noise))
    caption = caption_choice(0, epoch, split.ids[position], split.captions[position])
    first = models.text_encoder(tokenize(models, [caption]), output_hidden_states=True)
    second = models.modules["text_encoder_2"](tokenize(models, [caption], "tokenizer_2"), output_hidden_states=True)
    states, pooled = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.text_embeds
    if choice.drop_caption:
        states, pooled = torch.zeros_like(states), torch.zeros_like(pooled)
    (width, height), (left, top) = split.originals[position].tolist(), split.corner(position)
    sizes = torch.tensor([[height, width, top, left, SIDE, SIDE]], dtype=torch.float32)
    time, noise = torch.tensor([choice.timestep]), torch.from_numpy(choice.noise)[None]
    added = {"text_embeds": pooled, "time_ids": sizes}
    noisy = schedule.add_noise(latent, noise, time)
    predicted = models.unet(noisy, time, encoder_hidden_states=states, added_cond_kwargs=added).sample
    return float((predicted - noise).pow(2).mean())


@torch.no_grad()
@pytest.mark.parametrize("text_trains", [False, True], ids=["cached", "text encoders train"])
def test_the_loss_of_each_picture_is_that_of_plain_diffusers(models: Models, store: Store, text_trains: bool) -> None:
    own = latents(models, store, pictures("train", 10), text_trains=text_trains)
    samples = [(epoch, i) for epoch in range(2) for i in range(10)]
    found = losses(
        Denoiser(models, text_trains), objective_of(models), own.batch(samples, 0, DROPOUT, CPU, torch.float32)
    )
    expected = [plain_loss(models, epoch, i) for epoch, i in samples]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    assert len({round(loss, 6) for loss in expected}) == len(samples)


def test_mirrored_pictures_are_told_the_mirrored_corner(models: Models, store: Store) -> None:
    own = latents(models, store, pictures("train", 10), flip=True)
    samples = [(epoch, i) for epoch in range(4) for i in range(10)]
    told = own.batch(samples, 0, 0.0, CPU, torch.float32).pictures
    corners = [{picture.crop[1] for picture, (_, i) in zip(told, samples, strict=True) if i == k} for k in range(10)]
    # A file of 96 + i columns and 128 rows is made 64 wide: all of its width is kept, and a mirrored one begins at 0 - i
    assert all(found <= {k, 0} for k, found in enumerate(corners)) and {0, 9} in corners
    assert Picture((100, 300), (0, 10), (50, 50)).mirrored == Picture((100, 300), (0, 90), (50, 50))


@pytest.mark.parametrize("name", TRAINED)
def test_a_resumed_training_is_bitwise_the_uninterrupted_one(
    start: Start, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = training(steps=6, batch_size=3, save_every=2, caption_dropout=0.3)
    straight = start(TRAINED[name], config, "straight")
    before = weights(straight)
    straight.fit()
    broken = start(TRAINED[name], config, "broken")
    interrupt_after(broken, 4, monkeypatch)
    with pytest.raises(Interrupted):
        broken.fit()
    broken.run.pending_signal = 0
    resumed = start(TRAINED[name], config, "broken")
    resumed.fit()
    assert equal(weights(straight), weights(resumed)) and not equal(weights(straight), before)


def test_only_the_chosen_text_encoder_changes(start: Start, loaded: Callable[[Model], Models], toy: Model) -> None:
    trainer = start(TRAINED["second text encoder"], training())
    trainer.fit()
    fresh = loaded(toy)
    changed = {
        name
        for name, network in trainer.models.modules.items()
        for own, old in zip(network.parameters(), fresh.modules[name].parameters(), strict=True)
        if not torch.equal(own, old)
    }
    assert changed == {"text_encoder_2"}
