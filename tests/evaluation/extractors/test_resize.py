"""Resize policies against a double loop, Pillow, torch, hand-computed values, and the packages that they are named after."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from t2i.errors import ConfigError
from t2i.evaluation.extractors.resize import POLICIES, policy, tensorflow_bilinear
from t2i.randomness import generator


@pytest.fixture
def images() -> np.ndarray:
    """uint8 (3, 23, 37, 3)."""
    return generator("resize").integers(0, 256, (3, 23, 37, 3), dtype=np.uint8)


def tf1_by_loop(plane: np.ndarray, size: int) -> np.ndarray:
    """What `resize_bilinear_op.cc` of TensorFlow 1 does, pixel by pixel, in float32."""
    height, width = plane.shape
    out = np.empty((size, size), np.float32)
    step_y, step_x = np.float32(height / size), np.float32(width / size)
    for i in range(size):
        y = np.float32(i) * step_y
        top, bottom = int(y), min(int(y) + 1, height - 1)
        for j in range(size):
            x = np.float32(j) * step_x
            left, right = int(x), min(int(x) + 1, width - 1)
            fx, fy = x - np.float32(left), y - np.float32(top)
            upper = plane[top, left] + (plane[top, right] - plane[top, left]) * fx
            lower = plane[bottom, left] + (plane[bottom, right] - plane[bottom, left]) * fx
            out[i, j] = upper + (lower - upper) * fy
    return out


@pytest.mark.parametrize("size", [9, 37, 50])
def test_torch_fidelity_is_a_double_loop_to_the_bit(images: np.ndarray, size: int) -> None:
    found = POLICIES["torch_fidelity"].apply(images, size).numpy()
    assert found.dtype == np.float32 and found.shape == (3, 3, size, size)
    for channel in range(3):
        np.testing.assert_array_equal(found[0, channel], tf1_by_loop(images[0, :, :, channel].astype(np.float32), size))


def test_torch_fidelity_by_hand() -> None:
    # Two pixels to four: 0, 0.5, 1 and, beyond the last, the last again; half-pixel centres would give 0 .25 .75 1.
    row = torch.tensor([[[[10.0, 20.0], [10.0, 20.0]]]])
    assert tensorflow_bilinear(row, 4)[0, 0, 0].tolist() == [10.0, 15.0, 20.0, 20.0]
    # Smaller without antialias: every second pixel, the others do not count.
    line = torch.arange(8.0).expand(1, 1, 8, 8)
    assert tensorflow_bilinear(line, 4)[0, 0, 0].tolist() == [0.0, 2.0, 4.0, 6.0]


def test_clean_is_pillow_on_each_channel_without_rounding(images: np.ndarray) -> None:
    found = POLICIES["clean"].apply(images, 19).numpy()
    for channel in range(3):
        plane = Image.fromarray(images[1, :, :, channel].astype(np.float32), mode="F")
        expected = np.asarray(plane.resize((19, 19), Image.Resampling.BICUBIC)).clip(0, 255)
        np.testing.assert_array_equal(found[1, channel], expected)
    assert (found != np.round(found)).any()


def test_torch_antialias_is_torch(images: np.ndarray) -> None:
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    expected = F.interpolate(planes, size=(11, 11), mode="bilinear", align_corners=False, antialias=True)
    np.testing.assert_array_equal(POLICIES["torch_antialias"].apply(images, 11).numpy(), expected.numpy())


def test_antialias_is_what_a_checkerboard_shows() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 255
    images = np.repeat(board.astype(np.uint8)[None, :, :, None], 3, axis=3)
    for name, known in POLICIES.items():
        spread = float(POLICIES[name].apply(images, 15).std())
        assert (spread < 20) == known.antialias, (name, spread)


def test_only_clip_cuts_the_long_side() -> None:
    images = np.zeros((1, 32, 64, 3), np.uint8)
    images[:, :, 16:48] = 255
    for name, known in POLICIES.items():
        assert (float(known.apply(images, 32).min()) == 255.0) == (known.crop == "center"), name


def test_a_batch_changes_nothing(images: np.ndarray) -> None:
    for known in POLICIES.values():
        whole = known.apply(images, 16)
        np.testing.assert_array_equal(whole[1:2].numpy(), known.apply(images[1:2], 16).numpy())


def test_an_unknown_policy_names_the_known() -> None:
    with pytest.raises(ConfigError, match=r"eval.resize=cleen is no resize policy.*clean"):
        policy("cleen")


def test_equals_torch_fidelity(images: np.ndarray) -> None:
    theirs = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    expected = theirs.interpolate_bilinear_2d_like_tensorflow1x(planes, size=(299, 299), align_corners=False)
    np.testing.assert_array_equal(POLICIES["torch_fidelity"].apply(images, 299).numpy(), expected.numpy())


def test_equals_clean_fid(images: np.ndarray) -> None:
    theirs = pytest.importorskip("cleanfid.resize")
    expected = np.stack([theirs.build_resizer("clean")(image) for image in images]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(POLICIES["clean"].apply(images, 299).numpy(), expected)
