"""Inception-Score formula at its bounds, its split rule, and its interval."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.inception_score import inception_score, inception_score_interval


def test_uniform_probabilities_score_one() -> None:
    assert inception_score(np.full((20, 10), 0.1)) == pytest.approx(1.0, abs=1e-12)


def test_ten_certain_classes_score_ten() -> None:
    assert inception_score(np.eye(10)) == pytest.approx(10.0, abs=1e-12)


def test_one_certain_class_scores_one() -> None:
    assert inception_score(np.eye(10)[[3, 3, 3]]) == pytest.approx(1.0, abs=1e-12)


def test_half_certain_by_hand() -> None:
    # Rows (1, 0) and (1/2, 1/2), mean (3/4, 1/4): KL = log 4/3 and (log 2/3 + log 2) / 2
    expected = np.exp((np.log(4 / 3) + (np.log(2 / 3) + np.log(2)) / 2) / 2)
    assert inception_score(np.array([[1.0, 0.0], [0.5, 0.5]])) == pytest.approx(expected, rel=1e-12)


def test_splits_are_consecutive_blocks() -> None:
    rows = np.eye(2)[[0, 0, 1, 1]]
    assert inception_score(rows) == pytest.approx(2.0)
    assert inception_score(rows, splits=2) == pytest.approx(1.0)
    with pytest.raises(UserError, match="splits=5"):
        inception_score(rows, splits=5)


def test_interval_lies_around_the_value() -> None:
    found = inception_score_interval(np.eye(4)[np.arange(60) % 4] * 0.9 + 0.025)
    assert found.low <= found.value <= found.high
    assert found.high - found.low > 0


def test_logits_are_refused() -> None:
    with pytest.raises(UserError, match="softmax"):
        inception_score(np.array([[2.0, -1.0], [0.5, 0.5]]))
