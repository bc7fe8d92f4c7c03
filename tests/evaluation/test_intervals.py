"""Intervals cover what they promise, repeat with their seed, and paired differences count by hand."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.intervals import (
    bootstrap_mean,
    difference_of_means,
    jackknife,
    jackknife_of,
    left_out,
    resample_counts,
    share,
)
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


def test_share_keeps_a_width_when_all_agree() -> None:
    found = share(np.ones(20))
    # Wilson: 1 / (1 + z^2 / n)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1 / (1 + 1.959964**2 / 20), 1.0))


def test_leaving_one_out_gives_the_standard_error_of_a_mean() -> None:
    values = generator("jackknife").normal(5.0, 2.0, 30)
    found = jackknife(values.mean(), 30, lambda part: float(np.delete(values, part).mean()), seed=0)
    half = 2.0452 * values.std(ddof=1) / 30**0.5  # Student's t, 29 degrees of freedom
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-4)


def test_groups_are_even_and_hold_every_sample_once() -> None:
    parts = left_out(103, seed=1)
    assert len(parts) == 40 and {len(part) for part in parts} == {2, 3}
    assert sorted(np.concatenate(parts).tolist()) == list(range(103))
    assert len(left_out(7, seed=1)) == 7


def test_two_samples_have_no_bounded_interval() -> None:
    assert jackknife(1.0, 2, lambda part: 0.0, seed=0).high == np.inf


def test_jackknife_by_hand() -> None:
    # Replicates 1, 2, 3: sqrt(2 / 3 * 2) = 1.1547; t with 2 degrees of freedom 4.3027
    found = jackknife_of(10.0, np.array([1.0, 2.0, 3.0]))
    assert (found.value, found.high) == pytest.approx((10.0, 10.0 + 4.3027 * 1.1547), rel=1e-4)


def test_the_difference_of_two_means_has_welchs_interval() -> None:
    """Variances 5/3 of 4 and 4 of 3 values: error sqrt(7/4), 3.2347 degrees of freedom (Welch and Satterthwaite)."""
    found = difference_of_means(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 4.0, 6.0]))
    half = 3.0557 * np.sqrt(1.75)  # times the 97.5 % quantile of Student's t with 3.2347 degrees of freedom
    assert found.value == -1.5
    assert found.high - found.low == pytest.approx(2 * half, rel=1e-4)
    assert (found.low + found.high) / 2 == pytest.approx(-1.5)
    with pytest.raises(UserError):
        difference_of_means(np.array([1.0]), np.array([1.0, 2.0]))
