"""Cosines, margin, alignment and uniformity on cases that can be computed by hand."""

import math

import numpy as np
import pytest

from t2i.evaluation.metrics.alignment import cosines, uniformity
from t2i.evaluation.metrics.contrast import DIRECTIONS, Features, differences, measure
from t2i.randomness import generator

IMAGES = np.array([[2.0, 0.0], [0.0, 3.0]])
TEXTS = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
HALF = math.sqrt(0.5)


def test_cosines_by_hand() -> None:
    """Image 0 has the captions at 45 and at 90 degrees from it, image 1 has one at 90."""
    found = cosines(IMAGES, TEXTS, [[0, 1], [2]])
    assert found.matched.total.tolist() == pytest.approx([HALF, 0])
    assert found.matched.count.tolist() == [2, 1]
    assert found.matched.value == pytest.approx(HALF / 3)
    # The others: image 0 with caption 2 (cosine 1); image 1 with captions 0 (0.707) and 1 (1).
    assert found.mismatched.total.tolist() == pytest.approx([1, HALF + 1])
    assert found.mismatched.count.tolist() == [1, 2]
    assert found.margin.total.tolist() == pytest.approx([HALF / 2 - 1, 0 - (HALF + 1) / 2])
    # |x - y|^2 of unit vectors: 2 - 2 cos, here 2 - sqrt(2), 2 and 2.
    assert found.alignment.value == pytest.approx((2 - math.sqrt(2) + 2 + 2) / 3)


def test_a_caption_that_both_images_have_is_no_mismatch() -> None:
    found = cosines(IMAGES, TEXTS, [[0, 1], [0]])
    assert found.mismatched.count.tolist() == [0, 1]
    assert found.mismatched.total.tolist() == pytest.approx([0, 1])
    assert found.margin.count.tolist() == [0, 1]  # an image without mismatches has no margin


def test_captions_count_as_often_as_they_are_said() -> None:
    found = cosines(np.eye(3), np.eye(3), [[0], [1, 1], [2]])
    assert found.matched.count.tolist() == [1, 2, 1]
    assert found.mismatched.count.tolist() == [3, 2, 3]


def test_uniformity_by_hand() -> None:
    """Opposite ends: |x - y|^2 = 4, log exp(-8) = -8; a right angle: 2, -4; equal ones: 0."""
    for other, value in (([-1.0, 0.0], -8.0), ([0.0, 5.0], -4.0), ([3.0, 0.0], 0.0)):
        assert uniformity(np.array([[1.0, 0.0], other]), 0, 100).value == pytest.approx(value)
    corners = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=np.float64)
    # Of six pairs four are at a right angle and two opposite.
    assert uniformity(corners, 0, 100).value == pytest.approx(math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6))


def test_uniformity_of_the_sphere_is_within_its_interval() -> None:
    """On the circle the mean of exp(-2 |x - y|^2) is exp(-4) I0(4), here 0.207: log -1.575; bootstrap copies no pair."""
    from scipy.special import i0

    angles = generator("circle").uniform(0, 2 * np.pi, 400)
    found = uniformity(np.stack([np.cos(angles), np.sin(angles)], 1), 0, 500)
    assert found.low < math.log(math.exp(-4) * i0(4)) < found.high
    assert found.low < found.value < found.high


def features(noise: float) -> Features:
    """Forty images with two captions each, and four classes; less noise: better."""
    g = generator("contrast")
    images = g.standard_normal((40, 16))
    texts = np.repeat(images, 2, axis=0) + noise * g.standard_normal((80, 16))
    accepted = [frozenset({i % 4}) for i in range(40)]
    classes = np.stack([images[k::4].mean(0) for k in range(4)])
    return Features(images, texts, [[2 * i, 2 * i + 1] for i in range(40)], classes, accepted)


def test_everything_is_measured_with_an_interval() -> None:
    found = measure(features(0.5), 0, 200)
    assert set(found.metrics) == set(DIRECTIONS)
    for name, interval in found.metrics.items():
        assert interval.low <= interval.value <= interval.high, name
    assert found.metrics["zero_shot_accuracy"].value == found.per_image["zero_shot_accuracy"].total.mean()


def test_recall_that_cannot_fail_is_left_out() -> None:
    """Among four captions, ten hold the right one for certain."""
    few = Features(np.eye(5), np.eye(5)[:4], [[0], [1], [2], [3], [3]])
    found = measure(few, 0, 100)
    names = {name for name in found.metrics if "recall" in name}
    assert names == {"image_to_text_recall_1", "text_to_image_recall_1"}
    assert "zero_shot_accuracy" not in found.metrics


def test_captions_of_one_kind_have_no_mismatch() -> None:
    found = measure(Features(np.eye(3), np.eye(3)[:1], [[0], [0], [0]]), 0, 100)
    assert "cosine_margin" not in found.metrics and "cosine_matched" in found.metrics


def test_differences_are_of_the_same_images() -> None:
    worse, better = measure(features(2.0), 0, 500), measure(features(0.5), 0, 500)
    found = differences(worse, better)
    for name in ("image_to_text_recall_1", "cosine_matched", "cosine_margin"):
        assert found[name].value == pytest.approx(better.metrics[name].value - worse.metrics[name].value)
        assert found[name].low > 0
    gain = 100 * (better.metrics["cosine_matched"].value / worse.metrics["cosine_matched"].value - 1)
    assert found["alignment_gain"].value == pytest.approx(gain)
    assert "uniformity_images" not in found  # no mean over images
    same = differences(better, better)
    assert all((i.value, i.low, i.high) == (0, 0, 0) for i in same.values())
