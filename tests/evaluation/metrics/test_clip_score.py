"""CLIP score at known angles, per sample."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.metrics.clip_score import clip_scores


def test_scores_at_known_angles() -> None:
    angles = np.deg2rad([0, 60, 90, 180])
    images = 3.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    texts = np.tile([0.5, 0.0], (4, 1))
    assert clip_scores(images, texts) == pytest.approx([100, 50, 0, 0], abs=1e-9)


def test_an_opposed_pair_does_not_lower_the_mean_of_the_others() -> None:
    scores = clip_scores(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert scores.mean() == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("texts", "words"),
    [(np.ones((3, 2)), "2 images and 3 captions"), (np.ones((2, 5)), "5"), (np.zeros((2, 2)), "all zeros")],
)
def test_bad_features_are_one_sentence(texts: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        clip_scores(np.ones((2, 2)), texts)
