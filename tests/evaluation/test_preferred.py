"""Judges that were taught by choices in the verdict: how often they prefer the second set, and where judges disagree."""

import numpy as np
import pytest

from t2i.evaluation import verdict
from t2i.evaluation.evaluate import Result, numbers_of
from t2i.evaluation.metrics import registry
from t2i.evaluation.metrics.measurement import Inputs
from t2i.evaluation.statistics.terms import Units
from t2i.randomness import generator
from t2i.stages.comparison import _read, _written

COUNT = 200


def angled(degrees: np.ndarray) -> np.ndarray:
    """Unit features float32 (N, 2) at these angles from the captions."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1).astype(np.float32)


def measured(angles: dict[str, np.ndarray], units: Units | None = None) -> Result:
    """Of each metric pictures at these angles from their captions, cosine after cosine."""
    found = {}
    for name, degrees in angles.items():
        texts = np.tile(np.array([[1.0, 0.0]], np.float32), (len(degrees), 1))
        answers = np.stack([np.cos(np.radians(degrees)), np.ones(len(degrees))], axis=1)
        inputs = Inputs(angled(degrees), 0, texts=texts, logit_scale=20.0, answers=answers, units=units or Units())
        found |= registry.measure(name, inputs, "toy")
    terms = {key: own.terms for key, own in found.items() if own.terms is not None}
    definition = {"generated_count": len(next(iter(angles.values())))}
    return Result(numbers_of(found), {}, definition, terms=terms, units=units or Units())


BEFORE = np.full(COUNT, 40.0)
AFTER = np.where(np.arange(COUNT) < 122, 35.0, 42.0)
"""Nearer to its caption on 122 of 200."""


def test_the_sentence_is_how_often_it_is_preferred() -> None:
    found = verdict.decide(measured({"pickscore": BEFORE}), measured({"pickscore": AFTER}))
    assert found.told("tuned") == "tuned preferred on 61 % of 200 prompts [54, 67] by PickScore"
    assert found.sentence == "preferred on 61 % of 200 prompts [54, 67] by PickScore" and found.answer == "better"
    assert found.rows[0].p == pytest.approx(0.00236, abs=1e-4)
    assert found.numbers["pickscore[toy].preferred"] == pytest.approx(0.61)
    assert found.numbers["pickscore[toy].preferred.low"] == pytest.approx(0.5409, abs=1e-3)
    assert found.disagreement == ""  # of one judge


def test_ties_are_shown_and_what_cannot_be_told_is_said() -> None:
    after = np.where(np.arange(COUNT) < 98, 35.0, np.where(np.arange(COUNT) < 188, 42.0, 40.0))
    found = verdict.decide(measured({"hpsv2": BEFORE}), measured({"hpsv2": after}))
    assert (
        found.told("tuned")
        == "tuned preferred on 52 % of 200 prompts [45, 59] by HPSv2, 12 ties, half to each (cannot tell)"
    )
    assert found.answer == "cannot tell"


def test_other_metrics_stand_behind_with_their_own_words() -> None:
    found = verdict.decide(
        measured({"vqa_score": BEFORE, "pickscore": BEFORE}), measured({"vqa_score": AFTER - 3.0, "pickscore": AFTER})
    )
    assert found.told("tuned") == (
        "tuned preferred on 61 % of 200 prompts [54, 67] by PickScore; better by VQA score at N = 200"
    )


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (80.0 - AFTER, "better by PickScore; worse by HPSv2"),
        (BEFORE + np.where(np.arange(COUNT) % 2, 1.0, -1.0), "better by PickScore; cannot tell by HPSv2"),
        (AFTER, ""),
    ],
)
def test_judges_that_disagree_are_named_on_a_line(second: np.ndarray, words: str) -> None:
    found = verdict.decide(
        measured({"pickscore": BEFORE, "hpsv2": BEFORE}), measured({"pickscore": AFTER, "hpsv2": second})
    )
    assert found.disagreement == (f"The judges do not agree: {words}" if words else "")


def test_pictures_of_one_prompt_are_not_counted_as_prompts() -> None:
    """Four pictures of each of 50 prompts that move together: as sure as 50."""
    units = Units(np.repeat(np.arange(50), 4))
    after = np.where(np.repeat(generator("prompts").random(50) < 0.62, 4), 35.0, 42.0)
    alone, together = (
        verdict.decide(measured({"pickscore": BEFORE}, own), measured({"pickscore": after}, own))
        for own in (None, units)
    )
    narrow, wide = (own.rows[0].wins.share for own in (alone, together))  # type: ignore[union-attr]
    assert wide.value == narrow.value and 1.8 < (wide.high - wide.low) / (narrow.high - narrow.low) < 2.2
    assert "of 200 pairs (50 independent) [" in together.sentence


def test_a_row_outlives_the_file_and_rows_of_before_are_read() -> None:
    row = verdict.decide(measured({"pickscore": BEFORE}), measured({"pickscore": AFTER})).rows[0]
    assert _read(_written(row)) == row
    plain = verdict.decide(measured({"vqa_score": BEFORE}), measured({"vqa_score": AFTER})).rows[0]
    assert "wins" not in _written(plain) and _read(_written(plain)) == plain
