"""Intervals over images: captions of one image are one draw, pairs are drawn together."""

import numpy as np
import pytest

from t2i.evaluation.statistics import clustered
from t2i.evaluation.statistics.clustered import PerImage
from t2i.randomness import generator


def test_the_mean_is_over_all_values() -> None:
    """One image with values 1, 1, 1 and one with 0: the mean of four values, not of two images."""
    values = PerImage(np.array([3.0, 0.0]), np.array([3.0, 1.0]))
    assert values.value == 0.75
    # Of 3 - 0.75 x 3 and 0 - 0.75 x 1 over the mean number of values, 2.
    assert values.terms.generated == pytest.approx([0.375, -0.375])


def test_captions_of_one_image_are_no_independent_samples() -> None:
    """Five equal captions an image: as wide as with one caption, and wider than 5 N independent ones by about sqrt(5)."""
    hits = generator("clustered").integers(0, 2, 200).astype(np.float64)
    one = clustered.mean(PerImage(hits, np.ones(200)))
    five = clustered.mean(PerImage(5 * hits, np.full(200, 5.0)))
    assert (one.low, one.high) == pytest.approx((five.low, five.high))
    apart = clustered.mean(clustered.one_each(np.repeat(hits, 5)))
    assert (five.high - five.low) / (apart.high - apart.low) == pytest.approx(np.sqrt(5), rel=0.1)


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    """Standard error of the mean: sd / sqrt(N), so about 2 x 1.96 of them between the ends."""
    values = generator("theory").standard_normal(400)
    found = clustered.mean(clustered.one_each(values))
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.07)


def test_a_difference_of_the_same_images_is_narrower_than_of_two_sets() -> None:
    before = generator("paired").standard_normal(300)
    found = clustered.difference(clustered.one_each(before), clustered.one_each(before + 0.25))
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25), abs=1e-6)


def test_the_relative_gain_by_hand() -> None:
    old, new = np.array([0.19, 0.21, 0.2, 0.2]), np.array([0.24, 0.232, 0.236, 0.236])
    before, after = clustered.one_each(old), clustered.one_each(new)
    found = clustered.gain(before, after)
    assert found is not None and found.value == pytest.approx(18.0)
    # 100 (new - 1.18 old) / 0.2: a mean of four, with Student's t of three degrees of freedom
    assert found.high - 18.0 == pytest.approx(3.18245 * np.std(100 * (new - 1.18 * old) / 0.2, ddof=1) / 2, rel=1e-4)
    around_zero = clustered.one_each(np.array([-1.0, 1.0, -1.0, 1.0]))
    assert clustered.gain(around_zero, after) is None  # dividing by about zero says nothing


def test_values_that_are_not_there_do_not_count() -> None:
    values = clustered.one_each(np.array([1.0, np.nan, 0.0]))
    assert values.value == 0.5
    assert values.terms.generated == pytest.approx([0.75, 0.0, -0.75])


@pytest.mark.parametrize(("ranks", "median"), [([3, 1, 2], 2), ([4, 1, 2, 9], 2), ([1], 1), ([7, 7, 1], 7)])
def test_the_median_is_the_smallest_that_half_do_not_exceed(ranks: list[int], median: int) -> None:
    found = clustered.median(np.array(ranks), np.arange(len(ranks)), clustered.draws(len(ranks), 0, 200))
    assert found.value == median
    assert found.low <= median <= found.high


def test_the_median_of_a_resample_repeats_images() -> None:
    weights = np.array([[3.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    found = clustered.median(np.array([5, 6, 7]), np.arange(3), weights)
    assert (found.low, found.high) == pytest.approx((5.05, 6.95))  # replicates 5 and 7; quantiles in between
