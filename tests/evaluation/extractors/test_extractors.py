"""The CLIP extractor at toy size: pixels, batches, layouts of stored keys, and what a damaged folder says."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from t2i.errors import UserError
from t2i.evaluation.config import Evaluation
from t2i.evaluation.extractors import registry as extractors
from t2i.evaluation.extractors.clip import ClipExtractor
from t2i.evaluation.extractors.registry import image_features, text_features
from t2i.models.preprocess import normalise, pillow_bicubic


@pytest.fixture
def copy(toy_clip: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_clip, tmp_path / "copy"))


@pytest.fixture(scope="module")
def extractor(toy_clip: Path) -> ClipExtractor:
    return ClipExtractor(str(toy_clip), "toy")


def test_batch_size_does_not_change_the_features(extractor: ClipExtractor) -> None:
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
    texts = [f"a cat number {i % 35}" for i in range(70)]
    one, seven, whole = (image_features(extractor, "given", images, size) for size in (1, 7, 64))
    assert one.dtype == np.float32 and one.shape == (70, 12)
    np.testing.assert_array_equal(one, seven)
    np.testing.assert_array_equal(one, whole)
    words = [text_features(extractor, texts, size) for size in (1, 7, 64)]
    np.testing.assert_array_equal(words[0], words[1])
    np.testing.assert_array_equal(words[0], words[2])
    np.testing.assert_array_equal(words[0][3], words[0][38])


def test_in_float32_the_features_are_nearly_the_same(
    extractor: ClipExtractor, toy_clip: Path, images: np.ndarray
) -> None:
    double = ClipExtractor(str(toy_clip), "toy", exact=True)
    assert (extractor.dtype, double.dtype) == (torch.float32, torch.float64)
    np.testing.assert_allclose(extractor.images(images), double.images(images), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(extractor.texts(["a red bus"]), double.texts(["a red bus"]), rtol=1e-4, atol=1e-6)


def test_the_configuration_says_how_exact_and_the_store_keeps_them_apart(toy_clip: Path) -> None:
    configs = [Evaluation(extractor="clip", clip=str(toy_clip), exact=exact) for exact in (True, False)]
    built = [extractors.build(config) for config in configs]
    assert [found.device.type for found in built] == ["cpu", "cpu"]
    assert [getattr(found, "dtype", None) for found in built] == [torch.float64, torch.float32]
    assert extractors.digests(configs[0]) != extractors.digests(configs[1])


def test_features_are_those_of_transformers(extractor: ClipExtractor, toy_clip: Path, images: np.ndarray) -> None:
    """The cosine of image and text equals logits_per_image / logit_scale of CLIPModel itself."""
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    model, tokenizer = CLIPModel.from_pretrained(toy_clip), CLIPTokenizer.from_pretrained(toy_clip)
    settings = json.loads((toy_clip / "preprocessor_config.json").read_text())
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, **settings)
    pixels = processor([Image.fromarray(image) for image in images], return_tensors="pt").pixel_values
    texts = ["a red bus", "two cats"]
    with torch.inference_mode():
        out = model(pixel_values=pixels, **tokenizer(texts, padding=True, return_tensors="pt"))
    a, b = extractor.images(images), extractor.texts(texts)
    cosine = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T
    np.testing.assert_allclose(extractor.logit_scale * cosine, out.logits_per_image.numpy(), atol=2e-4)


def test_resize_keeps_the_middle_and_leaves_the_right_size_alone() -> None:
    images = np.zeros((1, 32, 64, 3), np.uint8)
    images[:, :, 16:48] = 255
    assert (pillow_bicubic(images, 32) == 255).all()
    assert pillow_bicubic(images, 8).shape == (1, 8, 8, 3)
    assert normalise(images[:, :1, :1], np.full(3, 0.5), np.full(3, 0.25)) == pytest.approx(np.full((1, 3, 1, 1), -2))


def test_long_captions_are_cut_and_keep_their_end(extractor: ClipExtractor) -> None:
    """The tokenizer takes 16 tokens: start, 14 letters, end."""
    long, cut = extractor.texts(["abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnzzzz"])
    np.testing.assert_array_equal(long, cut)
    assert not np.array_equal(long, extractor.texts(["abcdefghijklm"])[0])


@pytest.mark.parametrize("layout", ["position_ids", "towers_with_their_own_prefix"])
def test_layouts_of_stored_keys_give_the_same_features(
    layout: str, extractor: ClipExtractor, copy: Path, images: np.ndarray
) -> None:
    """Early releases also stored position ids; towers saved from their own class bring a second prefix."""
    path = copy / "model.safetensors"
    state = load_file(path)
    if layout == "position_ids":
        state["text_model.embeddings.position_ids"] = torch.arange(24)[None]
        state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    else:
        state = {re.sub(r"^((text|vision)_model\.)", r"\1\1", key): value for key, value in state.items()}
    save_file(state, path, metadata={"format": "pt"})
    old = ClipExtractor(str(copy), "old")
    np.testing.assert_array_equal(old.images(images), extractor.images(images))
    np.testing.assert_array_equal(old.texts(["a dog"]), extractor.texts(["a dog"]))


def test_half_precision_weights_compute_in_full(copy: Path, images: np.ndarray) -> None:
    path = copy / "model.safetensors"
    save_file({key: value.half() for key, value in load_file(path).items()}, path, metadata={"format": "pt"})
    features = ClipExtractor(str(copy), "half").images(images)
    assert features.dtype == np.float32
    assert (features != features.astype(np.float16)).any()


def test_digest_is_that_of_the_weight_file(extractor: ClipExtractor, toy_clip: Path) -> None:
    assert extractor.digest == hashlib.sha256((toy_clip / "model.safetensors").read_bytes()).hexdigest()


def test_a_missing_tensor_is_refused_instead_of_drawn_at_random(copy: Path) -> None:
    path = copy / "model.safetensors"
    state = load_file(path)
    del state["visual_projection.weight"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="visual_projection.weight"):
        ClipExtractor(str(copy), "damaged")


def test_weights_that_do_not_fit_or_cannot_be_read_are_one_sentence(copy: Path) -> None:
    path = copy / "model.safetensors"
    state = load_file(path)
    state["visual_projection.weight"] = state["visual_projection.weight"][:5].clone()
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="cannot be loaded"):
        ClipExtractor(str(copy), "damaged")
    path.write_bytes(b"cut short")
    with pytest.raises(UserError, match="cannot be loaded"):
        ClipExtractor(str(copy), "damaged")


def test_missing_files_are_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="preprocessor_config.json is missing"):
        ClipExtractor(str(copy), "damaged")
    (copy / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no CLIP model"):
        ClipExtractor(str(copy), "damaged")
    with pytest.raises(UserError, match="eval.clip=/no/where is neither"):
        ClipExtractor("/no/where", "absent")


def test_damaged_weights_say_so(copy: Path, images: np.ndarray) -> None:
    path = copy / "model.safetensors"
    state = load_file(path)
    state["visual_projection.weight"][0, 0] = torch.nan
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="the generated features hold 10 non-finite"):
        image_features(ClipExtractor(str(copy), "nan"), "generated", images, 4)


def test_float_images_are_refused(extractor: ClipExtractor) -> None:
    with pytest.raises(UserError, match="uint8"):
        image_features(extractor, "generated", np.zeros((2, 32, 32, 3)), 4)


def test_the_configuration_names_the_extractor(toy_clip: Path) -> None:
    found = extractors.build(Evaluation(extractor="clip", clip=str(toy_clip)))
    assert found.name == "toy_clip"


@pytest.mark.skipif(not extractors.TINY_CLIP.is_dir(), reason="the bundled evaluator is not in this checkout")
def test_the_bundled_evaluator_loads(images: np.ndarray) -> None:
    found = extractors.build(Evaluation())
    assert found.name == "tiny_clip"
    assert found.images(images).shape[1] == found.texts(["a cat"]).shape[1]
