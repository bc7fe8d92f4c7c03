"""How many pairs show a change: against what can be computed without drawing anything."""

import functools

import numpy as np
import pytest
from scipy import stats

from t2i.evaluation.statistics.shares import Discordant, mcnemar
from t2i.randomness import generator
from tools.needed import mean, needed, of_signs, power, preferred, share
from tools.worlds_of_sets import p_of, pair


@pytest.mark.parametrize("count", [12, 18, 30])
def test_the_power_of_a_share_that_only_gains_is_a_binomial_tail(count: int) -> None:
    """Six of one sign are the fewest that reach 5 %: 2 / 2^6."""
    assert power(share(40, 0, count), 1) == pytest.approx(stats.binom.sf(5, count, 0.4), abs=0.04)


def test_the_number_that_is_needed_is_where_the_tail_reaches_eighty_of_a_hundred() -> None:
    exact = next(count for count in range(6, 60) if stats.binom.sf(5, count, 0.4) >= 0.8)
    assert float(needed(functools.partial(share, 40, 0), 1)) == pytest.approx(exact, abs=1)


def test_the_power_of_a_mean_is_about_that_of_the_t_test() -> None:
    """Of normal values, noncentral t; tails of five degrees move it by a few points."""
    limit = stats.t.ppf(0.975, 33)
    tail = stats.nct.sf(limit, 33, 0.5 * 34**0.5)
    assert power(mean(0.5, 34), 1) == pytest.approx(tail, abs=0.06)


def test_the_test_is_that_of_the_verdict() -> None:
    pairs = [(0, 0), (6, 0), (3, 9), (20, 20), (11, 40)]
    expected = [mcnemar(Discordant(float(gained), float(lost), 100.0)) for gained, lost in pairs]
    assert of_signs(*np.array(pairs).T) == pytest.approx(expected)


def test_what_is_not_there_is_not_found() -> None:
    assert power(share(0, 20, 200), 1) <= 0.06
    assert power(preferred(0.5, 0.2, 200), 1) <= 0.06


def test_pictures_of_nothing_are_found_by_what_looks_at_pictures() -> None:
    """A fifth of them, and none: 8 false ones of 40 at 5 % come up once in 1,000 times."""
    metrics = ("kid", "prdc")
    for broken, least, most in ((0.0, 0, 7), (0.3, 30, 40)):
        found = [p_of(metrics, *pair(generator("of nothing", str(broken), seed), 150, broken)) for seed in range(40)]
        for name in ("kid", "precision"):
            seen = sum(own[name] <= 0.05 for own in found)
            assert least <= seen <= most, (broken, name, seen)
