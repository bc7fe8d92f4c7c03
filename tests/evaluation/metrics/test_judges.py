"""PickScore, HPSv2 and VQA score of features whose cosines are known by hand."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.metrics import hpsv2, pickscore, vqa_score
from t2i.evaluation.metrics.measurement import Inputs

IMAGES = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]], np.float32)
TEXTS = np.array([[1.0, 0.0], [4.0, 0.0], [0.0, -2.0]], np.float32)
"""Cosines 1, 0 and -1 / sqrt(2)."""


def inputs(scale: float | None = None, answers: np.ndarray | None = None) -> Inputs:
    return Inputs(IMAGES, 0, texts=TEXTS, logit_scale=scale, answers=answers)


def test_pickscore_is_the_scaled_cosine_and_may_be_negative() -> None:
    found = pickscore.measure(inputs(20.0))["pickscore"]
    np.testing.assert_allclose(found.per_sample, [20.0, 0.0, -20.0 / np.sqrt(2.0)], atol=1e-6)
    assert found.interval.value == pytest.approx((20.0 - 14.142136) / 3)
    assert found.terms is not None and found.terms.choices is not None


def test_hpsv2_is_a_hundred_times_the_cosine() -> None:
    np.testing.assert_allclose(
        hpsv2.measure(inputs(20.0))["hpsv2"].per_sample, [100.0, 0.0, -100.0 / np.sqrt(2.0)], atol=1e-5
    )


def test_vqa_score_is_the_mean_of_yes_with_the_share_that_was_answered_beside_it() -> None:
    found = vqa_score.measure(inputs(answers=np.array([[0.9, 1.0], [0.6, 0.8], [0.3, 0.9]])))
    assert found["vqa_score"].interval.value == pytest.approx(0.6)
    assert found["vqa_score_answered"].interval.value == pytest.approx(0.9)
    assert found["vqa_score_answered"].terms is None  # a check of the judge, no property of the pictures
    with pytest.raises(UserError, match="expected a list of numbers from 0 to 1"):
        vqa_score.measure(inputs(answers=np.array([[1.2, 1.0], [0.6, 0.8], [0.3, 0.9]])))
