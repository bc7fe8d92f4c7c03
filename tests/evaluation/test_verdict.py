"""From two evaluations to one table and one sentence."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation import verdict
from t2i.evaluation.evaluate import Result, numbers_of
from t2i.evaluation.metrics import registry
from t2i.evaluation.metrics.measurement import Inputs, Suited
from t2i.randomness import generator


def measured(count: int, shift: int, metrics: tuple[str, ...]) -> Result:
    """Picture i in direction i + shift and caption i in direction i: CLIP score 100 where they agree, 0 elsewhere.

    Whatever the shift, it is the same set of pictures: every metric of the whole set is unchanged.
    """
    eye = np.eye(count, dtype=np.float32)
    real = generator("verdict", "reference").normal(size=(9, count)).astype(np.float32)
    inputs = Inputs(np.roll(eye, shift, axis=0), seed=0, reference=real, texts=eye)
    found = {key: own for name in metrics for key, own in registry.measure(name, inputs, "toy").items()}
    return Result(
        numbers_of(found),
        {},
        {"extractor": "toy", "clip": "toy", "generated_count": count},
        terms={key: own.terms for key, own in found.items() if own.terms is not None},
        units=inputs.units,
    )


def decided(count: int, shifts: tuple[int, int], *metrics: str) -> verdict.Verdict:
    return verdict.decide(*(measured(count, shift, metrics) for shift in shifts))


def test_six_equal_rises_are_enough_for_one_metric_and_not_for_two() -> None:
    """Six equal signs have p = 2 / 2^6 = 0.03125; Holm's method doubles it in a table of two, which needs seven pairs."""
    alone, beside = decided(6, (1, 0), "clip_score"), decided(6, (1, 0), "clip_score", "kid")
    assert alone.sentence == "better by CLIP score at N = 6"
    assert beside.sentence == (
        "cannot tell at N = 6 (too few for any verdict: a table of 2 metrics needs 7 pairs of pictures, and 6 are there)"
    )
    row = next(row for row in beside.rows if row.metric == "clip_score[toy]")
    assert (row.p, row.adjusted) == (pytest.approx(0.03125), pytest.approx(0.0625))
    assert row.change.value == pytest.approx(100)


def test_few_pictures_put_the_unbiased_metrics_first() -> None:
    found = decided(12, (0, 1), "fid", "clip_score", "kid")
    assert [row.metric for row in found.rows] == ["kid[toy]", "fid[toy]", "clip_score[toy]"]
    assert found.sentence == "worse by CLIP score at N = 12"
    assert found.answer == "worse"
    kid = found.rows[0]
    assert kid.verdict == "cannot tell" and kid.p > 0.9
    assert found.numbers["clip_score[toy].difference"] == pytest.approx(-100)


def test_what_n_is_too_small_for_does_not_cost_the_others_their_verdict() -> None:
    """Below 40 pictures nearest neighbours have no test; the table is that of the CLIP score alone."""
    found = decided(12, (1, 0), "clip_score", "prdc")
    assert [row.metric for row in found.rows] == ["clip_score[toy]"]
    assert found.sentence == "better by CLIP score at N = 12" and found.rows[0].p == found.rows[0].adjusted


def test_numbers_of_a_verdict_are_finite() -> None:
    """Two pairs: no interval is bounded, and what is not is left out of metrics.json."""
    found = decided(2, (0, 1), "kid")
    assert found.numbers.keys() == {f"kid[toy].{name}" for name in ("difference", "p", "p_holm")}


def composed(count: int, right: int, **of_loss: object) -> Result:
    """Six measured pictures, and beside them `count` prompts of which the first `right` are right, and a loss."""
    inputs = Inputs(
        np.empty((6, 0), np.float32),
        0,
        suite=Suited("toy", {"colour": (np.arange(count) < right).astype(float)}, {}, {}),
        held_out_losses=generator("verdict", "losses").random((9, 8)),
    )
    found = {
        key: own
        for name, source in (("composition", "toy"), ("held_out_loss@8", ""))
        for key, own in registry.measure(name, inputs, source).items()
    }
    definition = {"generated_count": 6, "numbers": {"held_out_loss@8": of_loss}}
    terms = {key: own.terms for key, own in found.items() if own.terms is not None}
    return Result(numbers_of(found), {}, definition, terms=terms)


def test_prompts_of_a_suite_are_as_many_pairs_as_they_are() -> None:
    """Ten lost of forty, in a table of two, though of six pictures alone nothing could be told."""
    found = verdict.decide(composed(40, 30), composed(40, 20))
    assert found.sentence == "worse by composition: colour (of 40) at N = 6"
    row = next(row for row in found.rows if row.metric == "composition_colour[toy]")
    assert row.p == pytest.approx(2 / 2**10) and row.adjusted == pytest.approx(4 / 2**10)
    assert verdict.decide(composed(40, 30), composed(40, 30)).answer == "cannot tell"


def test_a_number_of_another_definition_is_left_out_and_the_others_are_compared() -> None:
    """A loss under another noise schedule is another quantity; what was drawn can be compared."""
    first, second = composed(40, 30, predicts="noise"), composed(40, 20, predicts="velocity")
    assert [row.metric for row in verdict.decide(first, second).rows] == ["composition_colour[toy]"]
    assert len(verdict.decide(first, composed(40, 20, predicts="noise")).rows) == 2
    second.definition["generated_count"] = 7
    with pytest.raises(UserError, match="differ in generated_count"):
        verdict.decide(first, second)


def test_gains_and_losses_together_are_mixed() -> None:
    rows = [
        verdict.Row(name, 0, 1, verdict.Interval(1, 0.5, 1.5), 0, 0, 1, "", None, answer)
        for name, answer in (
            ("fid[a]", "worse"),
            ("kid[a]", "worse"),
            ("cmmd[a]", "worse"),
            ("clip_score[a]", "better"),
        )
    ]
    found = verdict.Verdict(rows, 1200, 1200)
    assert found.answer == "mixed"
    assert found.sentence == "better by CLIP score, worse by FID, KID and CMMD at N = 1,200"


def test_metrics_without_a_test_are_one_sentence() -> None:
    with pytest.raises(UserError, match=r"\(fid_infinity\) has a test of its change: add clip_score"):
        decided(40, (0, 1), "fid_infinity")
