"""A text tower of another width: the adapter learns, comes back from disk without its CLIP, and folds into the U-Net."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextModel

from t2i.models.config import Model
from t2i.models.parts import Models
from t2i.models.text_adapter import AdaptedTextEncoder, fold
from t2i.training import wiring
from t2i.training.text_adapter import TextAdapter

from ..evaluation.conftest import toy_clip  # noqa: F401  (a fixture)
from ..models.toy import WIDTH, states
from .conftest import Start, training
from .test_strategies import prediction


@pytest.fixture
def letters(toy_clip: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A CLIP with states of width 16 in a folder that a test may lose; the toy U-Net reads 24."""
    return Path(shutil.copytree(toy_clip, tmp_path / "letters"))


def test_only_the_adapter_changes_and_the_loss_falls(start: Start, letters: Path) -> None:
    config = training(steps=12, batch_size=10, caption_dropout=0.0)
    trainer = start(TextAdapter(learning_rate=1e-2, clip=str(letters)), config)
    tower = {n: p.clone() for n, p in trainer.models.text_encoder.tower.named_parameters()}  # type: ignore[attr-defined]
    metrics = trainer.fit()
    assert metrics["trainable_parameters"] == 16 * WIDTH
    assert all(
        torch.equal(tower[n], p)
        for n, p in trainer.models.text_encoder.tower.named_parameters()  # type: ignore[attr-defined]
    )
    assert metrics["held_out_loss"] < metrics["held_out_loss_before"]


@torch.no_grad()
def test_weights_need_their_clip_no_longer(
    toy: Model, loaded: Callable[[Model], Models], letters: Path, tmp_path: Path
) -> None:
    strategy = TextAdapter(clip=str(letters))
    models = loaded(toy)
    strategy.attach(models)
    models.text_encoder.adapter.weight.mul_(1.5)  # type: ignore[attr-defined]
    wanted = states(models, ["a cat"])
    (tmp_path / "weights").mkdir()
    strategy.save(models, tmp_path / "weights")
    shutil.rmtree(letters)
    fresh = loaded(toy)
    strategy.load(fresh, tmp_path / "weights")
    assert isinstance(fresh.text_encoder, AdaptedTextEncoder)
    assert states(fresh, ["a cat"]).shape == (1, 16, WIDTH)  # tokens of the letters' CLIP, width of the U-Net
    assert torch.equal(states(fresh, ["a cat"]), wanted)
    assert torch.equal(prediction(fresh), prediction(models))


@torch.no_grad()
def test_folded_it_is_a_plain_pipeline_with_the_same_predictions(
    toy: Model, loaded: Callable[[Model], Models], letters: Path, tmp_path: Path
) -> None:
    models = loaded(toy)
    TextAdapter(clip=str(letters)).attach(models)
    models.freeze()
    wanted = prediction(models)
    fold(models)
    assert type(models.text_encoder) is CLIPTextModel
    torch.testing.assert_close(prediction(models), wanted, rtol=1e-4, atol=1e-5)
    models.pipeline().save_pretrained(tmp_path / "pipeline")
    plain = StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline", safety_checker=None)
    assert plain.unet.config.cross_attention_dim == plain.text_encoder.config.hidden_size == 16
    models.modules |= {"unet": plain.unet, "text_encoder": plain.text_encoder}
    torch.testing.assert_close(prediction(models), wanted, rtol=1e-4, atol=1e-5)


def test_its_own_check_finds_an_adapter_that_does_not_reach_the_u_net(
    toy: Model, loaded: Callable[[Model], Models], letters: Path
) -> None:
    strategy = TextAdapter(clip=str(letters))
    models = loaded(toy)
    assert list(wiring.adapter(models, strategy)) == []
    strategy.attach(models)
    found = list(wiring.adapter(models, strategy))
    assert [check.ok for check in found] == [True, True, True]
    assert found[0].found == "16 to 24"

    class Lost(TextAdapter):
        def plain(self, models: Models) -> None:
            with torch.no_grad():
                models.text_encoder.adapter.weight.mul_(2)  # type: ignore[attr-defined]
            super().plain(models)

    assert not list(wiring.adapter(models, Lost(clip=str(letters))))[2].ok


def test_another_tower_is_another_training(letters: Path, toy_clip: Path) -> None:  # noqa: F811
    same, bundled = TextAdapter(clip=str(letters)), TextAdapter()
    assert same.inputs() == TextAdapter(clip=str(toy_clip)).inputs() != bundled.inputs()
