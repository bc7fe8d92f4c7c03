"""The FID Inception with random weights: names, counts and shapes of the published file, and its differences by hand."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from t2i.errors import UserError
from t2i.evaluation.config import Evaluation
from t2i.evaluation.extractors import inception as inception_extractor
from t2i.evaluation.extractors import inception_weights
from t2i.evaluation.extractors import registry as extractors
from t2i.evaluation.extractors.inception import InceptionExtractor
from t2i.evaluation.extractors.inception_network import InceptionV3, pooled

SHAPES = {
    "Conv2d_1a_3x3": (32, 149),
    "Conv2d_2a_3x3": (32, 147),
    "Conv2d_2b_3x3": (64, 147),
    "pool_1": (64, 73),
    "Conv2d_3b_1x1": (80, 73),
    "Conv2d_4a_3x3": (192, 71),
    "pool_2": (192, 35),
    "Mixed_5b": (256, 35),
    "Mixed_5c": (288, 35),
    "Mixed_5d": (288, 35),
    "Mixed_6a": (768, 17),
    "Mixed_6b": (768, 17),
    "Mixed_6c": (768, 17),
    "Mixed_6d": (768, 17),
    "Mixed_6e": (768, 17),
    "Mixed_7a": (1280, 8),
    "Mixed_7b": (2048, 8),
    "Mixed_7c": (2048, 8),
}


@pytest.fixture(scope="module")
def network() -> Iterator[InceptionV3]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield InceptionV3().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights(network: InceptionV3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def accepted(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The random weights, taken for the published ones."""
    import hashlib

    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    monkeypatch.setattr(inception_weights, "SHA256", digest)
    return weights


def test_tensors_and_parameters_are_those_of_the_published_file(network: InceptionV3) -> None:
    state = network.state_dict()
    assert len(state) == 566
    # 94 convolutions with one weight, two of the norm, its two running moments and a count; and the classes.
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_850_960
    assert len([key for key in state if key.endswith("conv.weight")]) == 94
    for key, shape in {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Conv2d_4a_3x3.bn.running_var": (192,),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_5d.branch_pool.conv.weight": (64, 288, 1, 1),
        "Mixed_6a.branch3x3dbl_3.conv.weight": (96, 96, 3, 3),
        "Mixed_6c.branch7x7dbl_4.conv.weight": (160, 160, 7, 1),
        "Mixed_6e.branch7x7_2.conv.weight": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7b.branch3x3_2a.conv.weight": (384, 384, 1, 3),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch3x3dbl_3b.bn.num_batches_tracked": (),
        "fc.weight": (1008, 2048),
        "fc.bias": (1008,),
    }.items():
        assert tuple(state[key].shape) == shape, key


def test_shapes_through_every_block(network: InceptionV3) -> None:
    x = torch.zeros(1, 3, 299, 299)
    for name, stage in network.stages.items():
        x = stage(x)
        assert tuple(x.shape) == (1, SHAPES[name][0], SHAPES[name][1], SHAPES[name][1]), name


def test_average_pool_divides_by_the_pixels_that_exist() -> None:
    x = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    expected = [[3.0, 3.5, 4.0], [4.5, 5.0, 5.5], [6.0, 6.5, 7.0]]  # the corner: (1 + 2 + 4 + 5) / 4
    assert pooled(x, "average")[0, 0].tolist() == expected
    assert pooled(x, "max")[0, 0].tolist() == [[5.0, 6.0, 6.0], [8.0, 9.0, 9.0], [8.0, 9.0, 9.0]]


def test_the_last_block_pools_by_maximum_and_the_one_before_by_average(network: InceptionV3) -> None:
    for name, kind in (("Mixed_7b", "average"), ("Mixed_7c", "max")):
        block = network.stages[name]
        x = torch.rand(1, SHAPES["Mixed_7a" if name == "Mixed_7b" else "Mixed_7b"][0], 8, 8)
        expected = block.get_submodule("branch_pool")(pooled(x, kind))  # type: ignore[arg-type]
        torch.testing.assert_close(block(x)[:, -192:], expected, rtol=0, atol=0)


def test_a_block_by_hand(network: InceptionV3) -> None:
    """Branches of Mixed_6b in the order 1x1, 7x7, twice 7x7, pool: channels 192 each."""
    block = network.stages["Mixed_6b"]
    x = torch.rand(1, 768, 17, 17)
    out = x
    for name in ("branch7x7_1", "branch7x7_2", "branch7x7_3"):
        layer = block.get_submodule(name)
        kernel = layer.conv.weight.shape[2:]
        out = torch.nn.functional.conv2d(out, layer.conv.weight, padding=(kernel[0] // 2, kernel[1] // 2))
        norm = layer.bn
        scale = norm.weight / (norm.running_var + 0.001).sqrt()
        out = ((out - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]).clamp(min=0)
    torch.testing.assert_close(block(x)[:, 192:384], out, rtol=1e-4, atol=1e-5)


def test_features_and_logits_come_from_the_middle_grey_scaled_pixels(accepted: Path, network: InceptionV3) -> None:
    extractor = InceptionExtractor(str(accepted), "torch_fidelity")
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)
    features = extractor.images(images)
    assert features.dtype == np.float32 and features.shape == (3, 2048)
    np.testing.assert_array_equal(features[1:2], extractor.images(images[1:2]))
    logits = extractor.logits(features)
    np.testing.assert_allclose(logits, features @ network.fc.weight.numpy().T, rtol=1e-3, atol=1e-5)
    grey = np.full((1, 8, 8, 3), 128, np.uint8)
    x = torch.zeros(1, 3, 299, 299)
    for stage in network.stages.values():
        x = stage(x)
    np.testing.assert_allclose(extractor.images(grey), x.mean((2, 3)).numpy(), rtol=1e-4, atol=1e-6)


def test_in_float32_with_channels_last_the_features_are_nearly_the_same(accepted: Path) -> None:
    exact, single = (InceptionExtractor(str(accepted), "torch_fidelity", exact=exact) for exact in (True, False))
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)
    np.testing.assert_allclose(single.images(images), exact.images(images), rtol=1e-3, atol=1e-5)
    assert single._model.stages["Conv2d_1a_3x3"].conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_without_the_file_one_sentence_says_what_to_type(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"no file; expected a copy of https://.*6726825d.pth: type eval.inception="):
        inception_weights.inception_file("/no/where.pth")
    with pytest.raises(UserError, match="expected 6726825d0af5"):
        inception_weights.inception_file(str(weights))
    monkeypatch.setattr(inception_weights, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(inception_weights, "URL", (tmp_path / "pt_inception.pth").as_uri())
    with pytest.raises(UserError, match=r"could not be downloaded .*type eval.inception=<path>, or eval.extractor="):
        inception_weights.inception_file(None)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_download_is_kept(accepted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception_weights, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(inception_weights, "URL", accepted.as_uri())
    first = inception_weights.inception_file(None)
    monkeypatch.setattr(inception_weights, "_download", None)
    assert inception_weights.inception_file(None) == first == tmp_path / "cache" / "random.pth"


@pytest.mark.parametrize("damage", ["missing", "not a file of tensors"])
def test_other_contents_are_one_sentence(
    damage: str, network: InceptionV3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.pth"
    torch.save({key: value for key, value in network.state_dict().items() if key != "fc.bias"}, path)
    if damage != "missing":
        path.write_bytes(b"nothing")
    monkeypatch.setattr(inception_extractor, "inception_file", lambda source: path)
    with pytest.raises(UserError, match=re.escape(f"{path} does not hold the 566 tensors")):
        InceptionExtractor(str(path), "torch_fidelity")


def test_the_configuration_names_it_beside_the_clip_for_texts(accepted: Path) -> None:
    config = Evaluation(extractor="inception", inception=str(accepted), resize="clean")
    extractor, clip = extractors.build_both(config)
    assert (extractor.name, extractor.preprocessing, clip.name, clip.preprocessing) == (
        "inception",
        "clean",
        "tiny_clip",
        "clip",
    )
