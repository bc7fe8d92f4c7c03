"""Intervals of means cover what they promise, at few and at equal values too; groups that are left out, by hand."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.intervals import difference_of_means, jackknife, jackknife_of, left_out, mean
from t2i.randomness import generator


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_the_interval_of_a_normal_mean_covers_it_at_every_n(count: int) -> None:
    """1,000 sets: 95 % of the intervals hold the true mean (binomial bounds at 4 sigma); a bootstrap: 47, 75, 91 % below 6."""
    rng = generator("coverage", count)
    found = [mean(rng.normal(3.0, 2.0, count)) for _ in range(1000)]
    assert 0.922 <= np.mean([interval.low <= 3.0 <= interval.high for interval in found]) <= 0.978


def test_its_width_is_students() -> None:
    found = mean(np.array([1.0, 2.0, 3.0, np.nan]))
    half = 4.30265 / 3**0.5  # t with two degrees of freedom, standard deviation 1
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half), rel=1e-5)
    assert mean(np.array([1.0, 2.0, 3.0]), lowest=0.0).low == 0.0


def test_equal_values_tell_what_share_of_others_they_may_have_missed() -> None:
    """59 equal values: with 95 % confidence at most 1 - 0.05^(1/59) = 4.95 % are other, anywhere from 0 to 100."""
    found = mean(np.full(59, 20.0), 0.0, 100.0)
    share = 1 - 0.05 ** (1 / 59)
    assert (found.value, found.low, found.high) == pytest.approx((20.0, 20.0 - share * 20, 20.0 + share * 80))
    assert mean(np.zeros(59), 0.0, 100.0).low == 0.0
    unbounded = mean(np.full(5, 2.0))
    assert (unbounded.low, unbounded.high) == (-np.inf, np.inf)


def test_one_value_says_nothing_of_its_spread_and_bad_ones_are_one_sentence() -> None:
    assert mean(np.array([1.0]), 0.0, 2.0).high == 2.0
    with pytest.raises(UserError, match="0 sample"):
        mean(np.array([np.nan]))
    with pytest.raises(UserError, match="non-finite"):
        mean(np.array([1.0, np.inf]))


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
    assert difference_of_means(np.ones(3), np.zeros(4)).high == np.inf
    with pytest.raises(UserError):
        difference_of_means(np.array([1.0]), np.array([1.0, 2.0]))
