"""Paired differences: signs by hand, swaps that are exact, the smallest change that can be seen, and Holm's table."""

import itertools

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.paired import holm, paired_difference, smallest_detectable, swap_test
from t2i.randomness import generator


def test_paired_difference_counts_signs() -> None:
    a = np.zeros(10)
    found = paired_difference(a, np.array([1, 1, 1, 1, 1, 1, 1, 1, -1, 0.0]), seed=0)
    assert (found.wins, found.losses, found.ties) == (8, 1, 1)
    assert found.difference.value == pytest.approx(0.7)
    assert found.p == pytest.approx(2 * (1 + 9) / 2**9)


def test_equal_scores_are_no_evidence() -> None:
    found = paired_difference(np.arange(5.0), np.arange(5.0), seed=0)
    assert (found.ties, found.p, found.difference.low, found.difference.high) == (5, 1.0, 0.0, 0.0)


def test_unequal_lengths_are_one_sentence() -> None:
    with pytest.raises(UserError, match="3 scores of the first run and 4"):
        paired_difference(np.zeros(3), np.zeros(4), seed=0)


def mean_swap(change: np.ndarray, replicates: int = 4000) -> tuple[float, float]:
    found = swap_test(
        float(change.mean()), lambda tosses: ((1.0 - 2.0 * tosses) * change).mean(axis=1), len(change), 0, replicates
    )
    return found.p, found.standard_error


def test_p_value_is_the_share_of_all_exchanges_that_reach_the_difference() -> None:
    change = np.array([0.3, -0.1, 0.8, 0.4, 0.9, -0.2, 0.5, 0.7, 0.1, 0.6])
    every = [abs(float(np.dot(signs, change))) for signs in itertools.product([1, -1], repeat=10)]
    exact = np.mean(np.array(every) >= change.sum() - 1e-9)
    p, error = mean_swap(change)
    assert p == pytest.approx(exact, abs=4 * (exact / 2000) ** 0.5)
    assert error == pytest.approx(np.sqrt(np.square(change).sum()) / 10, rel=0.05)  # each sign is its own coin


def test_zero_is_inside_the_interval_when_the_test_does_not_reject() -> None:
    rng = generator("agree")
    for _ in range(50):
        change = rng.normal(0.3, 1.0, 30)
        found = swap_test(
            float(change.mean()), lambda tosses, c=change: ((1.0 - 2.0 * tosses) * c).mean(axis=1), 30, 0, 400
        )
        assert (found.difference.low <= 0.0 <= found.difference.high) == (found.p > 0.05)


def test_a_tie_with_the_critical_value_is_no_evidence() -> None:
    # 0.1 + 0.2 is not quite 0.3.
    found = swap_test(0.3, lambda tosses: np.where(tosses[:, 0], 0.1 + 0.2, -(0.1 + 0.2)), 10, 0, 200)
    assert found.p == 1.0 and found.difference.low <= 0.0
    found = swap_test(0.1 + 0.2, lambda tosses: np.where(tosses[:, 0], 0.3, -0.3), 10, 0, 200)
    assert found.p == 1.0 and found.difference.low <= 0.0


def test_equal_sets_have_no_evidence() -> None:
    assert mean_swap(np.zeros(12)) == (1.0, 0.0)


def test_smallest_detectable_change_is_seen_four_times_in_five() -> None:
    assert smallest_detectable(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    rng = generator("power")
    seen = [
        paired_difference(np.zeros(50), rng.normal(smallest_detectable(1 / 50**0.5), 1.0, 50), i, 400).difference.low
        > 0
        for i in range(300)
    ]
    assert 0.70 <= np.mean(seen) <= 0.90  # 80 % within four standard errors


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04, times 4 3 2 1: .04 .06 .06 .04, made monotone
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0
    with pytest.raises(UserError, match="0 to 1"):
        holm([0.5, np.nan])
