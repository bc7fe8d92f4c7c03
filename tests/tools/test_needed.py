"""How many pairs show a change: against what can be computed without drawing anything."""

import functools

import numpy as np
import pytest
from scipy import stats

from t2i.evaluation.statistics.shares import Discordant, mcnemar
from tools.needed import mean_seen, needed, p_of, share_seen


@pytest.mark.parametrize("count", [12, 18, 30])
def test_the_power_of_a_share_that_only_gains_is_a_binomial_tail(count: int) -> None:
    """Six of one sign are the fewest that reach 5 %: 2 / 2^6."""
    assert share_seen(40, 0, 1, count) == pytest.approx(stats.binom.sf(5, count, 0.4), abs=0.04)


def test_the_number_that_is_needed_is_where_the_tail_reaches_eighty_of_a_hundred() -> None:
    exact = next(count for count in range(6, 60) if stats.binom.sf(5, count, 0.4) >= 0.8)
    assert float(needed(functools.partial(share_seen, 40, 0, 1))) == pytest.approx(exact, abs=1)


def test_the_power_of_a_mean_is_about_that_of_the_t_test() -> None:
    """Of normal values, noncentral t; tails of five degrees move it by a few points."""
    limit = stats.t.ppf(0.975, 33)
    power = stats.nct.sf(limit, 33, 0.5 * 34**0.5)
    assert mean_seen(0.5, 1, 34) == pytest.approx(power, abs=0.06)


def test_the_test_is_that_of_the_verdict() -> None:
    pairs = [(0, 0), (6, 0), (3, 9), (20, 20), (11, 40)]
    expected = [mcnemar(Discordant(float(gained), float(lost), 100.0)) for gained, lost in pairs]
    assert p_of(*np.array(pairs).T) == pytest.approx(expected)


def test_what_is_not_there_is_not_found() -> None:
    assert share_seen(0, 20, 1, 200) <= 0.06
