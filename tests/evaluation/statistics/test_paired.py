"""Paired differences: the t of contributions by hand, one statistic for p and interval, units, rounding, Holm's table."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.statistics.paired import EQUAL, FEW, MCNEMAR, difference, fewest_pairs, holm
from t2i.evaluation.statistics.terms import Terms, Units, of_mean, of_share
from t2i.randomness import generator

SINGLE = Units()


def change(a: np.ndarray, b: np.ndarray, units: Units = SINGLE):  # type: ignore[no-untyped-def]
    return difference(of_mean(a), of_mean(b), units)


def test_a_difference_of_means_is_students_paired_t() -> None:
    from scipy import stats

    rng = generator("paired t")
    a = rng.normal(0, 1, 30)
    b = a + rng.normal(0.3, 0.5, 30)
    found, expected = change(a, b), stats.ttest_rel(b, a)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-5)
    bounds = expected.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((bounds.low, bounds.high), rel=1e-5)


def test_equal_scores_are_no_evidence() -> None:
    found = change(np.arange(9.0), np.arange(9.0))
    assert (found.p, found.difference.value, found.difference.low, found.difference.high, found.test) == (
        1,
        0,
        0,
        0,
        EQUAL,
    )


def test_a_change_of_rounding_is_no_change() -> None:
    """Scores around 30 that all rose by 4e-8: below what float32 features can tell."""
    scores = generator("rounding").normal(30, 3, 100)
    found = change(scores, scores + 4e-8)
    assert found.p > 0.9 and found.difference.low < 0 < found.difference.high


def test_equal_rises_of_few_pairs_are_as_much_evidence_as_their_signs() -> None:
    """Five equal signs come up by lot in 2 / 32 of cases, six in 2 / 64, whatever t says."""
    five, six = change(np.zeros(5), np.ones(5)), change(np.zeros(6), np.ones(6))
    assert five.p == pytest.approx(2 / 32) and five.difference.low <= 0
    assert six.p == pytest.approx(2 / 64) and six.difference.low > 0
    assert (fewest_pairs(1), fewest_pairs(5), fewest_pairs(13)) == (6, 8, 10)


def test_captions_of_one_picture_are_one_pair() -> None:
    """Every pair five times: the same p as once, and t's freedom is that of the pictures."""
    rng = generator("units")
    a, b = rng.normal(0, 1, 20), rng.normal(0.5, 1, 20)
    owner = np.tile(np.arange(20), 5)
    once, five = change(a, b), change(np.tile(a, 5), np.tile(b, 5), Units(owner))
    assert (five.p, five.pairs, five.freedom) == (pytest.approx(once.p), 20, pytest.approx(19))
    hits = rng.integers(0, 2, (2, 20)).astype(float)
    once, five = (
        difference(of_share(np.tile(hits[0], k)), of_share(np.tile(hits[1], k)), units)
        for k, units in ((1, SINGLE), (5, Units(owner)))
    )
    assert five.standard_error == pytest.approx(once.standard_error)
    assert five.difference.high - five.difference.low == pytest.approx(
        once.difference.high - once.difference.low, rel=0.05
    )


def test_a_share_has_mcnemars_test_and_tangos_interval() -> None:
    a, b = np.repeat([0.0, 1.0, 0.0], [12, 2, 36]), np.repeat([1.0, 0.0, 0.0], [12, 2, 36])
    found = difference(of_share(a), of_share(b), SINGLE)
    assert (found.test, found.p) == (MCNEMAR, pytest.approx(0.012939453))
    assert (found.difference.low, found.difference.high) == pytest.approx((0.06111, 0.34471), abs=1e-5)
    none = difference(of_share(a), of_share(a), SINGLE)
    assert none.p == 1.0 and none.difference.low == pytest.approx(-0.0713, abs=1e-3)


def test_the_reference_is_drawn_anew_too() -> None:
    """Contributions of the reference add their variance over M; Satterthwaite's freedom lies between both."""
    rng = generator("reference")
    own, real = rng.normal(0, 1, (2, 50)), rng.normal(0, 2, (2, 30))
    own, real = own - own.mean(1, keepdims=True), real - real.mean(1, keepdims=True)
    first, second = (Terms(float(i), generated=own[i], reference=real[i]) for i in (0, 1))
    found = difference(first, second, SINGLE)
    parts = np.var(own[1] - own[0], ddof=1) / 50, np.var(real[1] - real[0], ddof=1) / 30
    assert found.standard_error == pytest.approx(sum(parts) ** 0.5)
    assert found.freedom == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 49 + parts[1] ** 2 / 29))


@pytest.mark.parametrize("count", [1023, 1025, 30_000])
def test_thousands_of_pairs_are_no_overflow(count: int) -> None:
    """The least p of so many signs is below every number; the test's own p stays."""
    drawn = generator("thousands", count).normal(0.05, 1, count)
    found = change(np.zeros(count), drawn)
    assert 0.0 <= found.p < 1.0 and (found.p <= 0.05) == (not found.difference.low <= 0.0 <= found.difference.high)


@pytest.mark.parametrize("highest", [1.0, np.inf])
def test_what_no_part_moves_has_a_test_all_the_same(highest: float) -> None:
    """None against all of 40: a share is held against as many pairs, a density (which is none) against rounding."""
    first, second = (Terms(value, 1.0, 0.0, highest, generated=np.zeros(40), samples=40) for value in (0.0, 1.0))
    found = difference(first, second, SINGLE)
    assert found.p < 0.05 and 0.0 < found.difference.low <= 1.0 <= found.difference.high


def test_too_few_samples_have_no_bounds() -> None:
    found = difference(Terms(1.0), Terms(2.0), SINGLE)
    assert (found.test, found.p, found.difference.high) == (FEW, 1.0, np.inf)


@pytest.mark.parametrize("tests", [1, 5, 13])
def test_the_smallest_detectable_change_is_seen_four_times_in_five_in_its_table(tests: int) -> None:
    """Alone in a table of `tests`, at the level that Holm's method asks of the first (within four standard errors)."""
    rng = generator("power", tests)
    found = change(np.zeros(50), rng.normal(0, 1, 50))
    unit = found.smallest_detectable(tests) / found.standard_error
    seen = []
    for _ in range(400):
        drawn = rng.normal(0, 1, 50)
        seen.append(change(np.zeros(50), drawn + unit / 50**0.5).p * tests <= 0.05)
    assert 0.70 <= np.mean(seen) <= 0.90


def test_unequal_lengths_are_one_sentence() -> None:
    with pytest.raises(UserError, match="3 generated samples of the first and 4"):
        change(np.arange(3.0), np.arange(4.0))


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04, times 4 3 2 1: .04 .06 .06 .04, made monotone
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0
    with pytest.raises(UserError, match="0 to 1"):
        holm([0.5, np.nan])
