"""Ranks and recall on cases that can be counted by hand."""

import numpy as np
import pytest

from t2i.evaluation.metrics import retrieval
from t2i.evaluation.metrics.retrieval import ranks
from t2i.randomness import generator


def at(degrees: float) -> list[float]:
    """A vector in the plane: the cosine of two is that of the angle between them."""
    return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]


def test_ranks_by_hand() -> None:
    """Images at 0, 40, 90 degrees; captions at 5 and 60 (image 0), 45 (image 1), 70 and 20 (image 2)."""
    images = np.array([at(0), at(40), at(90)])
    texts = np.array([at(5), at(60), at(45), at(70), at(20)])
    found = ranks(images, texts, [[0, 1], [2], [3, 4]])
    # Image 0 finds 5 first; image 1 (40) finds 45 first; image 2 (90) finds 70 first.
    assert found.image_to_text.tolist() == [1, 1, 1]
    # 5 is nearest to image 0; 60 is 20 from image 1, 30 from image 2, 60 from image 0: third; 45 to image 1: first;
    # 70 is 20 from image 2: first; 20 is 20 from images 0 and 1, both ahead of image 2: third.
    assert found.text_to_image.tolist() == [1, 3, 1, 1, 3]
    assert found.owner.tolist() == [0, 0, 1, 2, 2]
    image_to_text, text_to_image = found.recall(1)
    assert (image_to_text.value, text_to_image.value) == (1.0, 0.6)
    assert (text_to_image.total.tolist(), text_to_image.count.tolist()) == ([1, 1, 1], [2, 1, 2])
    assert found.recall(5)[1].value == 1.0


def test_any_of_an_images_captions_counts() -> None:
    found = ranks(np.array([at(0), at(90)]), np.array([at(80), at(10), at(95)]), [[0, 1], [2]])
    assert found.image_to_text.tolist() == [1, 1]
    assert ranks(np.array([at(0), at(90)]), np.array([at(80), at(10), at(95)]), [[0], [1, 2]]).image_to_text[0] == 2


def test_a_caption_that_two_images_share_is_right_for_both() -> None:
    found = ranks(np.array([at(0), at(10)]), np.array([at(4), at(-90)]), [[0], [0, 1]])
    assert found.image_to_text.tolist() == [1, 1]
    assert found.text_to_image.tolist() == [1, 1, 2]  # the shared caption twice, once for each image


def test_a_wrong_candidate_with_the_same_cosine_is_ahead() -> None:
    """A network that gives every caption the same vector has found nothing."""
    same = np.ones((4, 3))
    found = ranks(same, same, [[0], [1], [2], [3]])
    assert found.image_to_text.tolist() == found.text_to_image.tolist() == [4, 4, 4, 4]


def test_blocks_do_not_change_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    g = generator("retrieval")
    images, texts = g.standard_normal((23, 8)), g.standard_normal((40, 8))
    said = [g.integers(0, 40, 3).tolist() for _ in range(22)] + [list(range(40))]
    whole = ranks(images, texts, said)
    monkeypatch.setattr(retrieval, "BLOCK", 100)
    parts = ranks(images, texts, said)
    assert np.array_equal(whole.image_to_text, parts.image_to_text)
    assert np.array_equal(whole.text_to_image, parts.text_to_image)
    # The same by sorting, one image at a time.
    cosine = (images / np.linalg.norm(images, axis=1, keepdims=True)) @ (
        texts / np.linalg.norm(texts, axis=1, keepdims=True)
    ).T
    for i, own in enumerate(said):
        order = np.argsort(-cosine[i]).tolist()
        first = next(k for k, text in enumerate(order) if text in own)
        assert whole.image_to_text[i] == 1 + first
