"""Inception-Score formula at its bounds, its split rule, and its interval."""

from itertools import pairwise

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.metrics.inception_score import inception_score, inception_score_terms, measure
from t2i.evaluation.statistics.terms import Units, interval


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
    found = interval(inception_score_terms(np.eye(4)[np.arange(60) % 4] * 0.9 + 0.025), Units(), world=False)
    assert 1.0 <= found.low <= found.value <= found.high
    assert found.high - found.low > 0


def test_logits_are_refused() -> None:
    with pytest.raises(UserError, match="softmax"):
        inception_score(np.array([[2.0, -1.0], [0.5, 0.5]]))


def test_equals_torchmetrics_on_random_logits() -> None:
    theirs = pytest.importorskip("torchmetrics.image.inception")
    import torch
    from scipy.special import softmax

    from t2i.evaluation.metrics.measurement import Inputs

    logits = np.random.default_rng(0).normal(0, 2, (90, 30)).astype(np.float32)
    metric = theirs.InceptionScore(feature=torch.nn.Flatten(), splits=1)
    metric.update(torch.from_numpy(logits.astype(np.float64)))
    expected = float(metric.compute()[0])
    assert inception_score(softmax(logits.astype(np.float64), axis=1)) == pytest.approx(expected, rel=1e-9)
    found = measure(Inputs(np.ones((90, 4)), seed=0, logits=logits))
    assert found["inception_score"].interval.value == pytest.approx(expected, rel=1e-9)


def test_the_published_form_cuts_at_i_n_over_ten_and_tells_the_deviation_of_its_splits() -> None:
    """23 rows: blocks of 2, 2, 2, 3, 2, 2, 3, 2, 2, 3, where array_split gives three of 3 first."""
    from t2i.evaluation.metrics.measurement import Inputs

    logits = np.random.default_rng(3).normal(0, 2, (23, 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    edges = [0, 2, 4, 6, 9, 11, 13, 16, 18, 20, 23]
    scores = [inception_score(probabilities[a:b]) for a, b in pairwise(edges)]
    found = measure(Inputs(np.ones((23, 4)), seed=0, logits=logits))
    assert found["inception_score_10"].interval.value == pytest.approx(np.mean(scores))
    assert found["inception_score_10_std"].interval.value == pytest.approx(np.std(scores))
    assert "inception_score_10" not in measure(Inputs(np.ones((9, 4)), seed=0, logits=logits[:9]))
