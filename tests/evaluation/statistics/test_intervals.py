"""Intervals of means cover what they promise, at few and at equal values too."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.statistics.intervals import difference_of_means, mean
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
