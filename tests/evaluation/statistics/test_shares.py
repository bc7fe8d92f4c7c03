"""Score intervals of shares and of their changes: published values, consistency with the tests, and coverage."""

import itertools

import numpy as np
import pytest

from t2i.evaluation.statistics.shares import Discordant, mcnemar, smallest_change, tango, wilson
from t2i.randomness import generator


def test_wilson_keeps_a_width_when_all_agree() -> None:
    found = wilson(1.0, 20)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1 / (1 + 1.959964**2 / 20), 1.0))


def test_wilson_covers_a_rare_share() -> None:
    """p = 0.05, N = 20, where a bootstrap covers 66 %: exactly 0.9245 by summing the binomial."""
    from scipy import stats

    held = [k for k in range(21) if wilson(k / 20, 20).low <= 0.05 <= wilson(k / 20, 20).high]
    assert stats.binom.pmf(held, 20, 0.05).sum() == pytest.approx(0.9245, abs=1e-4)


def test_tango_without_a_pair_that_differs_is_as_wide_as_none_of_n_allows() -> None:
    """The score statistic d^2 n / (d (1 - d) ... ) has the closed form +-z^2 / (n + z^2) there."""
    for count in (5, 20, 100, 1000):
        found = tango(Discordant(0, 0, count))
        assert (found.low, found.value, found.high) == pytest.approx(
            (-(1.959964**2) / (count + 1.959964**2), 0.0, 1.959964**2 / (count + 1.959964**2)), rel=1e-5
        )


def test_tango_mirrors_and_is_narrower_with_more_pairs() -> None:
    found, mirrored = tango(Discordant(12, 2, 50)), tango(Discordant(2, 12, 50))
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low))
    # The published crossover of contact lenses (44 patients, one differs): -0.0594 to 0.1181 around 1 / 44.
    assert (tango(Discordant(1, 0, 44)).low, tango(Discordant(1, 0, 44)).high) == pytest.approx(
        (-0.0594, 0.1181), abs=1e-4
    )
    assert tango(Discordant(120, 20, 500)).low > found.low


def test_tango_leaves_zero_out_exactly_where_its_score_test_rejects() -> None:
    for gained, lost in itertools.product(range(14), repeat=2):
        found = tango(Discordant(gained, lost, 40))
        score = abs(gained - lost) / max(1e-12, (gained + lost) ** 0.5)
        if abs(score - 1.959964) > 1e-6 and gained + lost:
            assert (not found.low <= 0.0 <= found.high) == (score > 1.959964), (gained, lost)


def test_tango_covers() -> None:
    """2,000 draws of 40 pairs, 20 % gained and 5 % lost: 95 % within 4 standard errors."""
    counts = generator("tango").multinomial(40, [0.2, 0.05, 0.75], size=2000)
    found = [tango(Discordant(float(gained), float(lost), 40.0)) for gained, lost, _ in counts]
    assert 0.93 <= np.mean([interval.low <= 0.15 <= interval.high for interval in found]) <= 0.98


def test_mcnemar_is_the_sign_test_of_the_pairs_that_differ() -> None:
    assert mcnemar(Discordant(8, 1, 10)) == pytest.approx(2 * (1 + 9) / 2**9)
    assert mcnemar(Discordant(0, 0, 10)) == 1.0
    assert mcnemar(Discordant(4.5, 0.5, 10)) == pytest.approx(0.0736, abs=1e-4)  # |4| / sqrt(5) = 1.7889


@pytest.mark.parametrize(("pairs", "tests"), [(100, 1), (100, 13), (40, 5)])
def test_the_smallest_change_is_seen_four_times_in_five(pairs: int, tests: int) -> None:
    level = 1 - 0.05 / tests
    change = smallest_change(Discordant(0.1 * pairs, 0.1 * pairs, pairs), level, 0.8)
    rate = max(0.2, change)
    draws = generator("smallest", pairs, tests).multinomial(
        pairs, [(rate + change) / 2, (rate - change) / 2, 1 - rate], size=1500
    )
    seen = np.mean([mcnemar(Discordant(float(gained), float(lost), pairs)) <= 1 - level for gained, lost, _ in draws])
    assert 0.74 <= seen <= 0.92


def test_no_change_of_five_pairs_would_be_seen() -> None:
    assert smallest_change(Discordant(1, 1, 5), 0.95, 0.8) == 1.0
