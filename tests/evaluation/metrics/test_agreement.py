"""Zero-shot reading of classes, the share that agrees, and the probabilities behind the Inception Score."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.metrics.agreement import agreement, agreement_hits
from t2i.evaluation.metrics.measurement import Inputs
from t2i.evaluation.metrics.registry import measure
from t2i.evaluation.metrics.zero_shot import class_features, zero_shot_probabilities

CLASSES = np.eye(3)
IMAGES = np.array([[5.0, 1, 0], [0, 2, 1], [0, 1, 2], [3, 2, 0]])  # read as 0, 1, 2, 0


def test_share_of_accepted_readings() -> None:
    assert agreement(IMAGES, CLASSES, [{0}, {0, 1}, {0}, {1, 2}]) == 0.5


def test_a_sample_without_a_class_does_not_count() -> None:
    accepted = [frozenset({0}), frozenset(), frozenset({0}), frozenset({0})]
    assert agreement_hits(IMAGES, CLASSES, accepted) == pytest.approx([1, np.nan, 0, 1], nan_ok=True)
    inputs = Inputs(generated=IMAGES, seed=0, classes=CLASSES, accepted=accepted)
    found = measure("agreement", inputs, "toy")["agreement[toy]"].interval
    # Wilson's interval of 2 in 3 at 95 %
    assert (found.value, found.low, found.high) == pytest.approx((2 / 3, 0.2077, 0.9385), abs=1e-4)


def test_no_class_at_all_is_one_sentence() -> None:
    with pytest.raises(UserError, match="no sample has an accepted class"):
        agreement(IMAGES, CLASSES, [set()] * 4)


def test_probabilities_are_the_softmax_of_scaled_cosines() -> None:
    found = zero_shot_probabilities(np.array([[0.0, 7.0]]), np.eye(2), logit_scale=np.log(3))
    assert found == pytest.approx(np.array([[0.25, 0.75]]))


def test_class_features_average_the_templates() -> None:
    table = {"a cat": [1.0, 0.0], "the cat": [0.0, 5.0]}
    found = class_features(lambda texts: np.array([table[text] for text in texts]), ["cat"], ["a {}", "the {}"])
    assert found == pytest.approx(np.array([[0.5**0.5, 0.5**0.5]]))
