"""Which of several candidates a picture fits best, and the share of prompts that are right, beside what it is read against."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.evaluate import numbers_of
from t2i.evaluation.metrics import composition, geneval_prompts
from t2i.evaluation.metrics.composition import chosen
from t2i.evaluation.metrics.measurement import Inputs, Suited
from t2i.evaluation.metrics.registry import higher_is_better, measure
from t2i.evaluation.statistics.paired import difference
from t2i.evaluation.statistics.terms import Units

EAST, NORTH, BETWEEN = np.array([1.0, 0]), np.array([0, 1.0]), np.array([3.0, 4.0])


def test_the_nearest_candidate_is_chosen_by_direction() -> None:
    """cos(BETWEEN, NORTH) = 0.8 and cos(BETWEEN, EAST) = 0.6, whatever the lengths."""
    north, east = [[(BETWEEN, NORTH[None])]], [[(BETWEEN, 100 * EAST[None])]]
    assert chosen([north, east]) == 1.0
    assert chosen([east, north]) == 0.0


def test_equal_candidates_are_not_right() -> None:
    candidate = [[(BETWEEN, NORTH[None])]]
    assert chosen([candidate, candidate]) == 0.0


def test_a_candidate_is_as_good_as_its_best_layout_and_a_layout_as_its_mean_region() -> None:
    # the mean of 1 and 0 is less than 0.6; the best of 0.5 and 0.8 is more than 0.6
    halves, single = [(EAST, EAST[None]), (EAST, NORTH[None])], [(BETWEEN, EAST[None])]
    assert chosen([[single], [halves]]) == 1.0
    assert chosen([[halves, [(BETWEEN, NORTH[None])]], [single]]) == 1.0


def test_wordings_count_by_their_mean_direction() -> None:
    # of EAST and NORTH: 45 degrees, cosine (3 + 4) / 5 / sqrt(2) = 0.99, above 0.8 of NORTH alone
    both, alone = [[(BETWEEN, np.stack([EAST, 7 * NORTH]))]], [[(BETWEEN, NORTH[None])]]
    assert chosen([both, alone]) == 1.0


def test_a_region_that_is_not_finite_is_one_sentence() -> None:
    with pytest.raises(UserError, match="region features hold 1 non-finite"):
        chosen([[[(np.array([np.nan, 1.0]), NORTH[None])]], [[(EAST, NORTH[None])]]])


def suited(hits: list[float], other: list[float]) -> Suited:
    return Suited(
        "toy", {"colour": np.array(hits), "count": np.array(other)}, {"colour": np.ones(4)}, {"colour": 1 / 9}
    )


def inputs(found: Suited) -> Inputs:
    return Inputs(np.empty((100, 0), np.float32), 0, suite=found, units=Units(np.zeros(100, np.int64)))


def test_each_skill_has_a_share_its_interval_and_what_it_is_read_against() -> None:
    found = numbers_of(measure("composition", inputs(suited([1, 1, 0, 1], [0, 0, 0, 1])), "toy"))
    # Wilson's intervals of 3, 4 and 1 in 4 at 95 %
    expected = {
        "composition_colour[toy]": 0.75,
        "composition_colour[toy].low": 0.3006,
        "composition_colour[toy].high": 0.9544,
        "composition_colour[toy].real": 1.0,
        "composition_colour[toy].real.low": 0.5101,
        "composition_colour[toy].real.high": 1.0,
        "composition_colour[toy].chance": 1 / 9,
        "composition_count[toy]": 0.25,
        "composition_count[toy].low": 0.0456,
        "composition_count[toy].high": 0.6994,
    }
    assert found == pytest.approx(expected, abs=1e-4)
    assert higher_is_better("composition_colour[toy]")


def test_prompts_are_pairs_whatever_pictures_the_evaluation_is_of() -> None:
    """Six prompts that were lost and none gained: 2 / 2^6, McNemar's exact test, though all measured pictures are one unit."""
    before, after = (inputs(suited([hit] * 6, [1, 0, 1, 0, 1, 0])) for hit in (1.0, 0.0))
    found = composition.difference(before, after)
    assert found["composition_colour"].p == pytest.approx(2 / 2**6)
    assert found["composition_colour"].pairs == 6
    assert (found["composition_count"].p, found["composition_count"].difference.value) == (1.0, 0.0)


def test_scores_of_questions_have_a_mean_in_place_of_a_share() -> None:
    found = Suited("toy", {"count": np.array([0.2, 0.4, 0.9])}, {"count": np.array([0.5, 0.7])}, {}, scored=True)
    own = composition.measure(inputs(found))["composition_count"]
    # Student's t of 3 values: mean 0.5, standard error sqrt(0.13 / 3), quantile 4.3027, cut at 0 and 1
    assert own.interval.value == pytest.approx(0.5) and (own.interval.low, own.interval.high) == (0, 1)
    assert own.beside["real"].value == pytest.approx(0.6)
    after = inputs(Suited("toy", {"count": np.array([0.3, 0.5, 1.0])}, {}, {}, scored=True))
    assert composition.difference(inputs(found), after)["composition_count"].difference.value == pytest.approx(0.1)


def test_an_empty_suite_is_one_sentence() -> None:
    with pytest.raises(UserError, match="holds no prompt"):
        composition.measure(inputs(Suited("toy", {}, {}, {})))


def test_terms_of_prompts_need_no_label_for_each() -> None:
    own = composition.measure(inputs(suited([1, 1, 0, 1], [0, 0, 0, 1])))["composition_colour"].terms
    assert own is not None and own.alone
    assert difference(own, own, Units(np.zeros(100, np.int64))).pairs == 4


def test_published_prompts_are_the_mean_of_the_skills_with_an_interval_of_strata() -> None:
    """Skills that differ do not widen it: contributions are held against the mean of their skill."""
    hits = {"count": np.array([0.1, 0.3]), "colour": np.array([0.7, 0.8, 0.9, 1.0])}
    found = geneval_prompts.measure(inputs(Suited("toy", hits, {}, {}, scored=True)))
    assert set(found) == {"geneval_prompts", "geneval_prompts_count", "geneval_prompts_colour"}
    own = found["geneval_prompts"]
    assert own.interval.value == pytest.approx((0.2 + 0.85) / 2)
    assert found["geneval_prompts_colour"].interval.value == pytest.approx(0.85)
    assert own.terms is not None and own.terms.generated is not None
    np.testing.assert_allclose(own.terms.generated, [-0.15, 0.15, -0.1125, -0.0375, 0.0375, 0.1125])
    later = {"count": np.array([0.2, 0.4]), "colour": hits["colour"]}
    change = geneval_prompts.difference(
        inputs(Suited("toy", hits, {}, {}, scored=True)), inputs(Suited("toy", later, {}, {}, scored=True))
    )
    assert change["geneval_prompts"].difference.value == pytest.approx(0.05)
