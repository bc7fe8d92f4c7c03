"""How a tuning starts, what of it trains, and the folder that plain transformers loads afterwards."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPTextModel

from t2i.evaluation.extractors.clip import ClipExtractor
from t2i.models.clip import load_clip
from t2i.models.config import Model
from t2i.randomness import generator
from t2i.training.contrastive.config import RANDOM, ClipTuning, Projection, Towers
from t2i.training.contrastive.towers import attach, groups, height, start

from ...evaluation.conftest import SIZE
from ...models.toy import toy
from .conftest import tuning

__all__ = ["toy"]
PIXELS = generator("towers").integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
CPU = torch.device("cpu")


def test_training_and_measuring_see_the_same_features(toy_clip: Path) -> None:
    """The pixels, tokens and projections of the tuning are those of the extractor that measures it."""
    clip, extractor = start(tuning(), toy_clip), ClipExtractor(str(toy_clip), "toy")
    with torch.no_grad():
        images, texts = clip.image_features(PIXELS, CPU), clip.text_features(["a cat", "two red buses in a row"], CPU)
    np.testing.assert_allclose(images.numpy(), extractor.images(PIXELS), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        texts.numpy(), extractor.texts(["a cat", "two red buses in a row"]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("rank", [None, 3])
def test_a_saved_clip_is_a_plain_one(toy_clip: Path, tmp_path: Path, rank: int | None) -> None:
    """With adapters merged; the tuned features come from transformers' own loader."""
    config = tuning(rank=rank, projection=Projection.fresh)
    clip = start(config, toy_clip)
    with torch.no_grad():
        for parameter in attach(clip, config).values():
            parameter.add_(0.05)
        wanted = clip.image_features(PIXELS, CPU), clip.text_features(["a cat"], CPU)
    clip.save(tmp_path / "saved")
    plain = CLIPModel.from_pretrained(tmp_path / "saved")
    assert set(plain.state_dict()) == set(CLIPModel.from_pretrained(toy_clip).state_dict())
    extractor = ClipExtractor(str(tmp_path / "saved"), "saved")
    np.testing.assert_allclose(extractor.images(PIXELS), wanted[0].numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(extractor.texts(["a cat"]), wanted[1].numpy(), rtol=1e-4, atol=1e-5)


def test_fresh_projections_replace_the_models_own_and_nothing_else(toy_clip: Path) -> None:
    own, fresh = load_clip(toy_clip), start(tuning(projection=Projection.fresh), toy_clip).model
    changed = {name for name, tensor in own.state_dict().items() if not torch.equal(fresh.state_dict()[name], tensor)}
    assert changed == {"visual_projection.weight", "text_projection.weight"} | (
        {"logit_scale"} if float(own.logit_scale) != pytest.approx(math.log(1 / 0.07)) else set()
    )
    again = start(tuning(projection=Projection.fresh), toy_clip).model
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), again.state_dict().values(), strict=True))
    other = start(tuning(projection=Projection.fresh, seed=1), toy_clip).model
    assert not torch.equal(other.text_projection.weight, fresh.text_projection.weight)


def test_new_weights_share_nothing_with_the_source(toy_clip: Path) -> None:
    own, fresh = load_clip(toy_clip).state_dict(), start(tuning(source=RANDOM), toy_clip).model.state_dict()
    matrices = [name for name, tensor in own.items() if tensor.ndim > 1 and tensor.std() > 0]
    assert matrices and not any(torch.equal(own[name], fresh[name]) for name in matrices)


def test_the_text_tower_starts_from_the_diffusion_model(toy_clip: Path, toy: Model) -> None:
    clip = start(tuning(text_from_model=True), toy_clip, Path(toy.source))
    wanted = CLIPTextModel.from_pretrained(Path(toy.source) / "text_encoder").state_dict()
    found = clip.model.text_model.state_dict()
    assert {name: tensor.shape for name, tensor in found.items()} == {n: t.shape for n, t in wanted.items()}
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    assert clip.model.text_projection.weight.shape == (12, 24)  # from the model's width to that of the picture tower
    assert torch.equal(clip.model.visual_projection.weight, load_clip(toy_clip).visual_projection.weight)
    assert clip.tokens == 32


CASES: list[tuple[ClipTuning, set[str]]] = [
    (tuning(), {"vision_model", "text_model", "visual_projection", "text_projection", "logit_scale"}),
    (tuning(towers=Towers.image), {"vision_model", "visual_projection", "logit_scale"}),
    (tuning(towers=Towers.text), {"text_model", "text_projection", "logit_scale"}),
    (
        tuning(towers=Towers.text, projection=Projection.fresh),
        {"text_model", "text_projection", "visual_projection", "logit_scale"},
    ),
    (tuning(towers=Towers.image, rank=2), {"vision_model", "logit_scale"}),
]


@pytest.mark.parametrize(("config", "modules"), CASES)
def test_what_trains(toy_clip: Path, config: ClipTuning, modules: set[str]) -> None:
    clip = start(config, toy_clip)
    names = attach(clip, config)
    assert {name.partition(".")[0] for name in names} == modules
    if config.rank is not None:
        # Two layers of four projections, each with a matrix of 2 x 16 and one of 16 x 2.
        assert sum(p.numel() for n, p in names.items() if n != "logit_scale") == 2 * 4 * (2 * 16 + 16 * 2)


def test_rates_fall_towards_the_input(toy_clip: Path) -> None:
    config = tuning(learning_rate=0.1, layer_decay=0.5, head_learning_rate=0.9, projection=Projection.fresh)
    clip = start(config, toy_clip)
    parameters = attach(clip, config)
    rate = {}
    for group in groups(clip, config, parameters):
        for parameter in group["params"]:
            rate[next(n for n, p in parameters.items() if p is parameter)] = (group["lr"], group["weight_decay"])
    assert set(rate) == set(parameters)
    layers = "text_model.encoder.layers"
    wanted = {  # two layers: 0.1 above them, half of it in the upper one, a quarter below, an eighth at the embeddings
        "text_projection.weight": (0.9, 0.01),
        "logit_scale": (0.1, 0.0),
        "text_model.final_layer_norm.weight": (0.1, 0.0),
        f"{layers}.1.mlp.fc1.weight": (0.05, 0.01),
        f"{layers}.0.mlp.fc1.weight": (0.025, 0.01),
        f"{layers}.0.mlp.fc1.bias": (0.025, 0.0),
        "text_model.embeddings.token_embedding.weight": (0.0125, 0.01),
        "vision_model.embeddings.class_embedding": (0.0125, 0.0),
        "vision_model.post_layernorm.bias": (0.1, 0.0),
    }
    for name, value in wanted.items():
        assert rate[name] == pytest.approx(value), name
    assert height("vision_model.pre_layrnorm.weight", clip.model) == 3


def test_weights_between_two_clips(toy_clip: Path, tmp_path: Path) -> None:
    """At a quarter of the way every weight is a quarter of the way; the ends are the two networks."""
    config = tuning()
    clip = start(config, toy_clip)
    with torch.no_grad():
        for parameter in attach(clip, config).values():
            parameter.mul_(1.5)
    clip.save(tmp_path / "tuned")
    base, tuned = ClipExtractor(str(toy_clip), "base"), ClipExtractor(str(tmp_path / "tuned"), "tuned")
    np.testing.assert_allclose(base.blended(tuned, 0.0).images(PIXELS), base.images(PIXELS), rtol=1e-6)
    np.testing.assert_allclose(base.blended(tuned, 1.0).images(PIXELS), tuned.images(PIXELS), rtol=1e-6)
    middle = base.blended(tuned, 0.25)
    own, found = base._model.state_dict(), middle._model.state_dict()
    torch.testing.assert_close(
        found["text_model.encoder.layers.0.mlp.fc1.weight"],
        own["text_model.encoder.layers.0.mlp.fc1.weight"] * 1.125,
        rtol=1e-6,
        atol=0,
    )
    assert len({base.digest, tuned.digest, middle.digest}) == 3
    np.testing.assert_array_equal(base.images(PIXELS), ClipExtractor(str(toy_clip), "base").images(PIXELS))
