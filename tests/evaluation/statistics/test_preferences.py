"""How often the second picture of a pair is preferred: pinned, against SciPy's own tests, and in worlds whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from t2i.evaluation.statistics import paired, terms
from t2i.evaluation.statistics.preferences import wins
from t2i.evaluation.statistics.terms import Units, of_choices, of_mean
from t2i.evaluation.statistics.terms_file import load, save
from t2i.randomness import generator


def test_61_of_100_is_wilsons_interval_and_the_sign_test() -> None:
    """122 of 200 won: Wilson's interval is 54.1 to 67.5 %, the sign test's p 0.0024."""
    first = np.full(200, 20.0)
    second = first + np.where(np.arange(200) < 122, 0.3, -0.9)
    found, p, _ = wins(first, second, Units())
    wilson = stats.binomtest(122, 200).proportion_ci(method="wilson")
    assert found.share.value == pytest.approx(0.61)
    assert (found.share.low, found.share.high) == pytest.approx((wilson.low, wilson.high), abs=1e-9)
    assert p == pytest.approx(stats.binomtest(122, 200).pvalue)
    assert found.words == "preferred on 61 % of 200 prompts [54, 67]" and found.ties == ""


def test_equal_scores_are_ties_that_count_half_to_each() -> None:
    """3 won, 1 lost, 4 tied of 8: (3 + 2) / 8; the sign test has 3 of 4."""
    change = np.array([1.0, 1.0, 1.0, -1.0, 0.0, 0.0, 1e-7, -1e-7])
    found, p, _ = wins(np.full(8, 20.0), 20.0 + change, Units())
    assert (found.won, found.lost, found.tied, found.share.value) == (3, 1, 4, 0.625)
    assert p == pytest.approx(0.625)  # 2 (1 + 4) / 16
    assert found.ties == ", 4 ties, half to each"


def test_a_set_against_itself_is_one_half() -> None:
    scores = generator("ties").normal(size=50) + 20.0
    found = paired.difference(of_choices(scores), of_choices(scores.copy()), Units())
    assert found.wins is not None and found.wins.tied == 50 and found.wins.share.value == 0.5
    assert found.p == 1.0 and found.difference.value == found.difference.low == found.difference.high == 0.0


def test_it_asks_which_is_preferred_and_not_by_how_much() -> None:
    """One pair in five loses by a lot: the mean falls, four of five are preferred."""
    first = generator("mean").normal(size=200) + 20.0
    second = first + np.where(np.arange(200) % 5 == 0, -10.0, 1.0)
    by_choice = paired.difference(of_choices(first), of_choices(second), Units())
    by_mean = paired.difference(of_mean(first), of_mean(second), Units())
    assert by_choice.wins is not None and by_choice.wins.share.low > 0.7 and by_choice.p < 1e-6
    assert by_mean.difference.high < 0.0
    assert by_choice.difference.low == pytest.approx(by_mean.difference.low)  # what is shown beside it
    assert 0.05 < by_choice.smallest_detectable() < 0.15  # of a share, from one half


@pytest.mark.parametrize(("pictures", "least", "most"), [(1, 0.92, 0.98), (4, 0.92, 0.98)])
def test_the_interval_holds_a_share_that_is_known(pictures: int, least: float, most: float) -> None:
    """60 prompts, several pictures each that share what the prompt is to the models; the true share is not one half.

    With four pictures a prompt that are counted as independent the interval would hold it far more seldom.
    """
    rng = generator("coverage", pictures)
    truth = float(stats.norm.cdf(0.4 / np.sqrt(2.0)))
    held, naive = 0, 0
    units = Units(np.repeat(np.arange(60), pictures))
    for _ in range(400):
        change = 0.4 + np.repeat(rng.normal(size=60), pictures) + rng.normal(size=60 * pictures)
        scores = np.full(len(change), 20.0)
        share = wins(scores, scores + change, units)[0].share
        alone = wins(scores, scores + change, Units())[0].share
        held += share.low <= truth <= share.high
        naive += alone.low <= truth <= alone.high
    assert least <= held / 400 <= most
    if pictures > 1:
        assert naive / 400 < 0.88


def test_p_is_below_5_percent_exactly_where_the_interval_leaves_one_half_out() -> None:
    rng = generator("agreement of p and interval")
    for _ in range(300):
        count = int(rng.integers(4, 60))
        change = rng.normal(rng.normal(0.0, 0.6), 1.0, count) * (rng.random(count) > 0.2)
        units = Units() if rng.random() < 0.5 else Units(rng.integers(0, 1 + count // 2, count))
        found, p, _ = wins(np.full(count, 20.0), 20.0 + change, units)
        assert (p <= 0.05) == (not found.share.low <= 0.5 <= found.share.high)


def test_choices_outlive_the_file(tmp_path: object) -> None:
    from pathlib import Path

    scores = generator("file").normal(size=12)
    path = Path(str(tmp_path)) / "terms.npz"
    save(path, {"pickscore[x]": of_choices(scores)}, Units())
    kept, _ = load(path)
    np.testing.assert_array_equal(kept["pickscore[x]"].choices, scores)
    assert terms.of_mean(scores).choices is None
