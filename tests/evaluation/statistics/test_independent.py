"""Two sets that share nothing but the reference: how often a change is found where there is none, and where there is one."""

import numpy as np
import pytest

from t2i.evaluation.statistics.independent import SHARES, WELCH, difference, fewest_each
from t2i.evaluation.statistics.terms import Units, of_mean, of_share

from ..worlds import simulate_strangers

REPETITIONS = 60


@pytest.fixture(scope="module")
def mirrored() -> dict:
    return simulate_strangers("mirrored", 40, 8, REPETITIONS)


@pytest.fixture(scope="module")
def shifted() -> dict:
    return simulate_strangers("shift", 100, 16, 30)


@pytest.mark.parametrize("name", ["fid", "kid", "cmmd", "clip_score", "inception_score", "agreement", "vendi"])
def test_equally_good_strangers_are_rarely_parted(name: str, mirrored: dict) -> None:
    """At 5 % more than 9 of 60 have a chance of 1 in 1,000."""
    assert mirrored[name].false <= 9 / REPETITIONS


@pytest.mark.parametrize("name", ["fid", "kid", "cmmd"])
def test_a_change_is_found_and_its_interval_holds_it(name: str, shifted: dict) -> None:
    assert shifted[name].power >= 0.9 and shifted[name].held >= 0.85


def test_of_means_it_is_welchs_test() -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 30), rng.normal(0.7, 2, 50)
    found = difference(of_mean(first), of_mean(second), (Units(), Units()))
    expected = stats.ttest_ind(second, first, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert found.test == WELCH and found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high), rel=1e-9)


def test_of_shares_it_is_agresti_and_caffo_by_hand() -> None:
    """18 of 40 against 30 of 40, one hit and one miss added to each: 19/42 and 31/42."""
    first, second = (np.repeat([1.0, 0.0], [hits, 40 - hits]) for hits in (18, 30))
    found = difference(of_share(first), of_share(second), (Units(), Units()))
    p, q = 19 / 42, 31 / 42
    half = 1.959963984540054 * np.sqrt(p * (1 - p) / 42 + q * (1 - q) / 42)
    assert found.test == SHARES
    assert (found.difference.low, found.difference.high) == pytest.approx((q - p - half, q - p + half), rel=1e-6)
    assert found.p < 0.05


def test_few_pictures_are_no_evidence() -> None:
    """Two sets of three: 20 ways to exchange them, so no p below 0.1, however far apart they are."""
    apart = (np.array([1.0, 1.001, 0.999]), np.array([9.0, 9.001, 8.999]))
    found = difference(*(of_mean(own) for own in apart), (Units(), Units()))
    assert found.p == pytest.approx(0.1) and found.difference.low <= 0.0
    assert (fewest_each(), fewest_each(4)) == (4, 5)
