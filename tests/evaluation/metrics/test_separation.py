"""The cosine check: which captions are compared, and how sure the separation is."""

import numpy as np
import pytest

from t2i.evaluation.metrics.separation import Cosines, caption_pairs, cosine_check, separation
from t2i.randomness import generator
from t2i.reporting import comparisons

IMAGE = np.repeat(np.arange(40), [1 + i % 5 for i in range(40)])


def test_matched_pairs_are_two_captions_of_one_image_and_random_ones_of_two() -> None:
    matched, random = caption_pairs(IMAGE, seed=3)
    assert len(matched) == len(random) == 32  # eight of the forty images have one caption
    assert (IMAGE[matched[:, 0]] == IMAGE[matched[:, 1]]).all() and (matched[:, 0] != matched[:, 1]).all()
    assert (IMAGE[random[:, 0]] != IMAGE[random[:, 1]]).all()
    np.testing.assert_array_equal(matched[:, 0], random[:, 0])
    assert len(set(IMAGE[matched[:, 0]])) == 32  # every image once


def test_every_caption_of_an_image_can_be_drawn() -> None:
    seen: set[tuple[int, ...]] = set()
    for seed in range(200):
        seen |= {tuple(pair) for pair in caption_pairs(np.array([0, 0, 0, 1, 1]), seed)[0].tolist()}
    assert seen == {(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (3, 4), (4, 3)}


def test_more_images_than_asked_for_are_drawn_by_lot() -> None:
    matched, _ = caption_pairs(np.repeat(np.arange(1000), 2), 0, most=100)
    assert len(matched) == 100 and 300 < (matched[:, 0] // 2).mean() < 700


def test_images_with_one_caption_have_random_pairs_only() -> None:
    matched, random = caption_pairs(np.arange(10), 0)
    assert matched.shape == (0, 2) and len(random) == 10
    alone = caption_pairs(np.zeros(3, int), 0)
    assert len(alone[0]) == 1 and alone[1].shape == (0, 2)


def test_cosines_are_those_of_the_rows() -> None:
    vectors = np.array([[1, 0], [3, 4], [0, 2], [0, 5]], np.float32)
    found = cosine_check(vectors, np.array([0, 0, 1, 1]), 0)
    np.testing.assert_allclose(found.matched, [0.6, 1.0])
    assert set(np.round(found.random, 6)) <= {0.0, 0.8}


def test_separation_is_the_area_under_the_curve() -> None:
    found = Cosines(np.array([0.9, 0.5]), np.array([0.1, 0.5]))
    assert separation(found, 0, 100).value == 3.5 / 4  # three wins and one tie
    g = generator("separation")
    found = Cosines(g.normal(1, 1, 300), g.normal(0, 1, 300))
    assert separation(found, 0, 100).value == pytest.approx(
        comparisons.separation(found.matched, found.random), abs=1e-12
    )


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Two normal distributions one apart: P(X > Y) = Phi(1 / sqrt 2) = 0.7602; 200 repetitions of 100 images."""
    g, covered = generator("coverage"), 0
    for _ in range(200):
        interval = separation(Cosines(g.normal(1, 1, 100), g.normal(0, 1, 100)), 0, 400)
        covered += interval.low <= 0.7602 <= interval.high
    assert 0.90 <= covered / 200 <= 0.99


def test_one_sided_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="found 2 matched and 0 random pairs"):
        separation(Cosines(np.ones(2), np.empty(0)), 0, 100)
