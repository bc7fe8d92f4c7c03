"""A tuned CLIP's text tower in a pipeline: in use, in both key layouts, or refused with what to do."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPModel

from t2i.errors import UserError
from t2i.models import text_tower
from t2i.models.config import Model
from t2i.models.load import Models
from t2i.models.weights import module_digest
from t2i.training.contrastive.config import ClipTuning
from t2i.training.contrastive.towers import attach, start

from ..evaluation.conftest import toy_clip  # noqa: F401  (a fixture)
from .toy import loaded, models, states, store, toy, wider_toy  # noqa: F401  (fixtures)


@pytest.fixture
def tuned(toy: Model, toy_clip: Path, models: Models, tmp_path: Path) -> Path:  # noqa: F811
    """A CLIP whose text tower was the toy model's and has been moved."""
    config = ClipTuning(text_from_model=True)
    clip = start(config, toy_clip, Path(toy.source))
    with torch.no_grad():
        for parameter in attach(clip, config).values():
            parameter.mul_(1.1)
    clip.save(tmp_path / "tuned")
    text_tower.describe(tmp_path / "tuned", module_digest(models.text_encoder), {})
    return tmp_path / "tuned"


def test_the_tower_is_in_use(models: Models, tuned: Path, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    before, digest = states(models, ["a cat"]), module_digest(models.text_encoder)
    with caplog.at_level(logging.WARNING, "t2i"):
        text_tower.place(models, tuned)
    plain = CLIPModel.from_pretrained(tuned)
    assert module_digest(models.text_encoder) == module_digest(plain.text_model) != digest
    assert module_digest(models.pipeline().text_encoder) == module_digest(plain.text_model)
    assert not torch.allclose(states(models, ["a cat"]), before)
    assert not any(parameter.requires_grad for parameter in models.text_encoder.parameters())
    assert caplog.text == ""


def test_a_tower_of_another_origin_is_placed_with_a_warning(
    models: Models,  # noqa: F811
    tuned: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tuned / text_tower.DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | {"origin": "another"}))
    with caplog.at_level(logging.WARNING, "t2i"):
        text_tower.place(models, tuned)
    assert "was not tuned from the text encoder of model=toy" in caplog.text


@pytest.mark.parametrize("level", ["text_model.", ""])
def test_both_key_layouts_fill_a_text_encoder(models: Models, tuned: Path, level: str) -> None:  # noqa: F811
    """A network of transformers before 5.6 names its weights with one level more."""
    from t2i.models.weights import text_layout

    file = load_file(tuned / "model.safetensors")
    tower = {name: tensor for name, tensor in file.items() if name.startswith("text_model.")}
    target = [level + name.removeprefix("text_model.") for name in tower]
    assert set(text_layout(tower, target)) == set(target)
    assert set(text_layout({n.removeprefix("text_model."): t for n, t in tower.items()}, target)) == set(target)


def test_another_width_is_refused_with_both_ways_on(
    wider_toy: Model,  # noqa: F811
    loaded: Callable[[Model], Models],  # noqa: F811
    tuned: Path,
) -> None:
    with pytest.raises(UserError) as caught:
        text_tower.place(loaded(wider_toy), tuned)
    sentence = str(caught.value)
    assert "gives states of width 24" in sentence and "reads 32" in sentence
    assert "clip.text_from_model=true" in sentence and "strategy=text_adapter" in sentence
    assert len(sentence.splitlines()) == 1


def test_for_stable_diffusion_the_way_on_is_its_own_clip(tuned: Path, models: Models) -> None:  # noqa: F811
    models.unet.register_to_config(cross_attention_dim=768)
    assert "clip.source=openai/clip-vit-large-patch14" in text_tower.misfit(tuned, models)


def test_another_vocabulary_is_refused(models: Models, toy_clip: Path, tmp_path: Path) -> None:  # noqa: F811
    clip = start(ClipTuning(), toy_clip)
    models.unet.register_to_config(cross_attention_dim=16)  # the width of the letters' CLIP
    clip.save(tmp_path / "letters")
    text_tower.describe(tmp_path / "letters", "another", {})
    with pytest.raises(UserError, match=r"words in 24 tokens and that of model=toy .* in 32"):
        text_tower.place(models, tmp_path / "letters")
