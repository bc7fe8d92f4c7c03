"""DINOv2 at toy size: the class token of transformers' own model, whatever the batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model

from t2i.errors import UserError
from t2i.evaluation.extractors.dinov2 import Dinov2Extractor
from t2i.evaluation.extractors.resize import POLICIES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dino") / "toy"
    config = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(path)
    return path


def test_features_are_the_class_token_after_the_layer_norm(folder: Path, images: np.ndarray) -> None:
    found = Dinov2Extractor(str(folder), "clean").images(images)
    model = Dinov2Model.from_pretrained(folder).eval()
    pixels = POLICIES["clean"].apply(images, 224).numpy() / 255
    pixels = (pixels - np.reshape([0.485, 0.456, 0.406], (3, 1, 1))) / np.reshape([0.229, 0.224, 0.225], (3, 1, 1))
    with torch.inference_mode():
        expected = model(pixel_values=torch.from_numpy(pixels).float()).pooler_output
    assert found.shape == (10, 24) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_batch_size_does_not_change_the_features(folder: Path, images: np.ndarray) -> None:
    extractor = Dinov2Extractor(str(folder), "clean")
    one = np.concatenate([extractor.images(image[None]) for image in images])
    np.testing.assert_array_equal(one, extractor.images(images))


def test_missing_tensors_and_folders_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="eval.dinov2=/no/where is neither"):
        Dinov2Extractor("/no/where", "clean")
    state = load_file(folder / "model.safetensors")
    del state["layernorm.weight"]
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks 1 of the tensors of a DINOv2 model, layernorm.weight"):
        Dinov2Extractor(str(tmp_path), "clean")
