"""Intervals cover what they promise, repeat with their seed, and paired differences count by hand."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.intervals import bootstrap_mean, centred, paired_difference, resample_counts, share
from t2i.randomness import generator


def test_bootstrap_of_a_normal_mean_covers_it() -> None:
    """200 sets of 60 normal values: about 95 % of the intervals hold the true mean (binomial bounds at 4 sigma)."""
    rng = generator("coverage")
    found = [bootstrap_mean(rng.normal(3.0, 2.0, 60), seed=i, replicates=400) for i in range(200)]
    assert 0.88 <= np.mean([interval.low <= 3.0 <= interval.high for interval in found]) <= 0.995


def test_bootstrap_width_is_that_of_the_normal_interval() -> None:
    values = generator("width").normal(0.0, 1.0, 400)
    found = bootstrap_mean(values, seed=0)
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_same_seed_same_interval() -> None:
    values = np.arange(30.0)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)
    assert (resample_counts(9, 1, 5) == resample_counts(9, 1, 5)).all()
    assert (resample_counts(9, 1, 5).sum(axis=1) == 9).all()


def test_equal_values_give_an_interval_without_width() -> None:
    found = bootstrap_mean(np.full(5, 2.0), seed=0, replicates=100)
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)


def test_one_value_and_nan_are_one_sentence() -> None:
    with pytest.raises(UserError, match="1 sample"):
        bootstrap_mean(np.array([1.0]), seed=0)
    with pytest.raises(UserError, match="non-finite"):
        bootstrap_mean(np.array([1.0, np.nan]), seed=0)


def test_centring_takes_the_bias_of_the_replicates_out() -> None:
    found = centred(10.0, np.linspace(14.0, 16.0, 201))
    assert (found.low, found.high) == pytest.approx((9.05, 10.95))


def test_share_keeps_a_width_when_all_agree() -> None:
    found = share(np.ones(20))
    # Wilson: 1 / (1 + z^2 / n)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1 / (1 + 1.959964**2 / 20), 1.0))


def test_paired_difference_counts_signs() -> None:
    a = np.zeros(10)
    found = paired_difference(a, np.array([1, 1, 1, 1, 1, 1, 1, 1, -1, 0.0]), seed=0)
    assert (found.wins, found.losses, found.ties) == (8, 1, 1)
    assert found.difference.value == pytest.approx(0.7)
    assert found.sign_test_p == pytest.approx(2 * (1 + 9) / 2**9)


def test_equal_scores_are_no_evidence() -> None:
    found = paired_difference(np.arange(5.0), np.arange(5.0), seed=0)
    assert (found.ties, found.sign_test_p, found.difference.low, found.difference.high) == (5, 1.0, 0.0, 0.0)


def test_unequal_lengths_are_one_sentence() -> None:
    with pytest.raises(UserError, match="3 scores of the first run and 4"):
        paired_difference(np.zeros(3), np.zeros(4), seed=0)
