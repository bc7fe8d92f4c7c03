"""From two sets of features to one table and one sentence."""

from pathlib import Path

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation import feature_file, verdict
from t2i.evaluation.evaluate import Result
from t2i.evaluation.measurement import Inputs
from t2i.randomness import generator


def sides(count: int, shift: int, metrics: tuple[str, ...]) -> tuple[Result, dict[str, Inputs]]:
    """Picture i in direction i + shift and caption i in direction i: CLIP score 100 where they agree, 0 elsewhere.

    Whatever the shift, it is the same set of pictures: every metric of the whole set is unchanged.
    """
    eye = np.eye(count, dtype=np.float32)
    real = generator("verdict", "reference").normal(size=(9, count)).astype(np.float32)
    inputs = Inputs(np.roll(eye, shift, axis=0), seed=0, replicates=200, reference=real, texts=eye)
    definition = {"extractor": "toy", "clip": "toy", "generated_count": count}
    numbers = {f"{name}[toy]": 0.0 for name in metrics}
    return Result(numbers, {}, definition), dict.fromkeys(metrics, inputs)


def decided(count: int, shifts: tuple[int, int], *metrics: str) -> verdict.Verdict:
    (first, before), (second, after) = (sides(count, shift, metrics) for shift in shifts)
    return verdict.decide(first, second, (before, after))


def test_six_wins_of_six_are_enough_for_one_metric_and_not_for_two() -> None:
    """The sign test of 6 of 6 has p = 2 / 2^6 = 0.03125; Holm's method doubles it in a table of two."""
    alone, beside = decided(6, (1, 0), "clip_score"), decided(6, (1, 0), "clip_score", "kid")
    assert alone.sentence == "better by CLIP score at N = 6"
    assert beside.sentence == "cannot tell at N = 6"
    row = next(row for row in beside.rows if row.metric == "clip_score[toy]")
    assert (row.p, row.adjusted) == (pytest.approx(0.03125), pytest.approx(0.0625))
    assert row.change.value == pytest.approx(100)


def test_few_pictures_put_the_unbiased_metrics_first() -> None:
    found = decided(12, (0, 1), "fid", "clip_score", "kid")
    assert [row.metric for row in found.rows] == ["kid[toy]", "fid[toy]", "clip_score[toy]"]
    assert found.sentence == "worse by CLIP score at N = 12"
    assert found.answer == "worse"
    kid = found.rows[0]
    assert (kid.verdict, kid.p) == ("cannot tell", 1.0)
    assert found.numbers["clip_score[toy].difference"] == pytest.approx(-100)


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
    found = verdict.Verdict(rows, 1200)
    assert found.answer == "mixed"
    assert found.sentence == "better by CLIP score, worse by FID, KID and CMMD at N = 1,200"


def test_metrics_without_a_test_are_one_sentence() -> None:
    with pytest.raises(UserError, match=r"\(fid_infinity\) has a test of its change: add clip_score"):
        decided(6, (0, 1), "fid_infinity")


def test_features_come_back_from_their_file_and_are_stored_once(tmp_path: Path) -> None:
    rows = generator("verdict", "file").normal(size=(3, 4)).astype(np.float32)
    full = Inputs(
        rows, seed=3, replicates=7, texts=rows + 1, classes=rows[:2], accepted=[frozenset({1}), frozenset(), frozenset({0, 1})],
        logit_scale=2.5, other_texts=[rows[:2], rows[:0], rows[2:]],
    )  # fmt: skip
    (tmp_path / "reference").mkdir()
    np.savez(tmp_path / "reference" / "reference.npz", **{"a.features": rows + 5})
    known = feature_file.Known.read(tmp_path / "reference" / "reference.npz")
    vendi = Inputs(rows * 2, 0, 1, logits=rows, reference=known.features["a"])
    path = tmp_path / "features.npz"
    feature_file.save(path, {"fid": full, "kid": full, "vendi": vendi}, tmp_path, [known])
    with np.load(path) as file:
        assert "1.logits" in file.files and "1.reference" not in file.files, "it is in its own file"
    found = feature_file.load(path, tmp_path)
    assert np.array_equal(found["vendi"].reference, rows + 5)
    assert found["fid"] is found["kid"] and found["fid"].seed == 3 and found["fid"].logit_scale == 2.5
    assert np.array_equal(found["vendi"].generated, rows * 2) and found["vendi"].texts is None
    assert found["fid"].accepted == full.accepted
    assert [len(own) for own in found["fid"].other_texts or []] == [2, 0, 1]
    assert np.array_equal(np.concatenate(found["fid"].other_texts or []), rows)
