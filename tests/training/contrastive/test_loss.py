"""The contrastive loss against a reference that is written out, and which captions are right."""

import math

import numpy as np
import pytest
import torch

from t2i.randomness import generator
from t2i.training.contrastive.config import Targets
from t2i.training.contrastive.loss import contrastive_loss, positives


def written_out(images: np.ndarray, texts: np.ndarray, scale: float, right: np.ndarray) -> float:
    """Both cross-entropies in float64, one pair after the other."""
    n = len(images)
    cosine = [[float(a @ b / math.sqrt(float(a @ a) * float(b @ b))) for b in texts] for a in images]
    total = 0.0
    for i in range(n):
        row = [math.exp(scale * cosine[i][j]) for j in range(n)]
        chosen = [j for j in range(n) if right[i][j]]
        total -= sum(math.log(row[j] / sum(row)) for j in chosen) / len(chosen) / n / 2
        column = [math.exp(scale * cosine[j][i]) for j in range(n)]
        chosen = [j for j in range(n) if right[j][i]]
        total -= sum(math.log(column[j] / sum(column)) for j in chosen) / len(chosen) / n / 2
    return total


@pytest.mark.parametrize("scale", [1.0, 14.3, 30.0])
@pytest.mark.parametrize("kind", Targets)
def test_the_loss_is_the_written_out_one(kind: Targets, scale: float) -> None:
    g = generator("loss")
    images, texts = g.standard_normal((6, 5)), g.standard_normal((6, 5))
    captions = ["a", "b", "a", "c", "a", "b"]
    known = [["a"], ["b"], ["a", "b"], ["c", "a"], ["a"], ["b"]]
    right = positives(captions, known, kind)
    found = contrastive_loss(
        torch.from_numpy(images).float(), torch.from_numpy(texts).float(), torch.tensor(scale), torch.from_numpy(right)
    )
    assert float(found) == pytest.approx(written_out(images, texts, scale, right), rel=1e-6)


def test_pairs_that_cannot_be_told_apart_cost_the_logarithm_of_their_number() -> None:
    """Equal vectors: each of N candidates has probability 1 / N, however many of them are right."""
    same = torch.ones(8, 3)
    for right in (torch.eye(8, dtype=torch.bool), torch.ones(8, 8, dtype=torch.bool)):
        assert float(contrastive_loss(same, same, torch.tensor(20.0), right)) == pytest.approx(math.log(8), rel=1e-6)


def test_orthogonal_pairs_by_hand() -> None:
    """Two pairs at a right angle, scale s: each loss is log(1 + exp(-s)); the diagonal is right."""
    rows = torch.eye(2)
    found = contrastive_loss(rows, rows, torch.tensor(2.0), torch.eye(2, dtype=torch.bool))
    assert float(found) == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-6)
    # Where both captions are right for both pictures half of the mass sits on the far one: log(1 + e^-2) + 2 / 2.
    both = contrastive_loss(rows, rows, torch.tensor(2.0), torch.ones(2, 2, dtype=torch.bool))
    assert float(both) == pytest.approx(math.log(1 + math.exp(-2)) + 1, rel=1e-6)


def test_a_caption_is_right_for_every_picture_that_it_is_said_about() -> None:
    captions, known = ["cat", "dog", "a cat"], [["cat", "a cat"], ["dog"], ["cat", "a cat"]]
    assert positives(captions, known, Targets.multi_positive).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert positives(captions, known, Targets.diagonal).tolist() == np.eye(3).tolist()


def test_only_multi_positive_targets_are_content_with_a_perfect_model() -> None:
    """Two pictures of each label: diagonal targets call half of the right answers wrong."""
    images, texts = torch.eye(2)[[0, 0, 1, 1]], torch.eye(2)[[0, 0, 1, 1]]
    captions = ["cat", "cat", "dog", "dog"]
    losses = {}
    for kind in Targets:
        right = torch.from_numpy(positives(captions, [[c] for c in captions], kind))
        losses[kind] = contrastive_loss(images, texts, torch.tensor(50.0), right)
    # Nothing can be better than these vectors: what is left is the entropy of two equal answers, log 2, in both; but
    # only multi-positive targets have it as their least value (cross-entropy is at least the target's entropy).
    assert float(losses[Targets.multi_positive]) == pytest.approx(math.log(2), rel=1e-6)
    entropy = {Targets.multi_positive: math.log(2), Targets.diagonal: 0.0}
    assert float(losses[Targets.diagonal]) - entropy[Targets.diagonal] == pytest.approx(math.log(2), rel=1e-6)


def random_loss(captions: list[str], known: list[list[str]], vectors: dict[str, torch.Tensor], kind: Targets) -> float:
    g = torch.Generator().manual_seed(3)
    images = torch.randn(len(captions), 5, generator=g)
    texts = torch.stack([vectors[caption] for caption in captions])
    right = torch.from_numpy(positives(captions, known, kind))
    return float(contrastive_loss(images, texts, torch.tensor(3.0), right))


def test_with_one_prompt_a_label_both_targets_are_the_same_loss() -> None:
    """Equal captions have equal logits, so their mean is any one of them: ten label prompts alone are no reason yet."""
    g = torch.Generator().manual_seed(4)
    vectors = {name: torch.randn(5, generator=g) for name in ("cat", "dog")}
    captions = ["cat", "dog", "cat", "cat", "dog"]
    losses = [random_loss(captions, [[c] for c in captions], vectors, kind) for kind in Targets]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_multi_positive_targets_are_the_mean_over_every_way_to_draw_the_captions() -> None:
    """Two prompts of one label, given to its two pictures in either order: diagonal targets are right on average and
    noisy, multi-positive ones are that average.
    """
    g = torch.Generator().manual_seed(4)
    vectors = {name: torch.randn(5, generator=g) for name in ("a cat", "one cat", "a dog")}
    known = [["a cat", "one cat"], ["a cat", "one cat"], ["a dog"]]
    draws = [["a cat", "one cat", "a dog"], ["one cat", "a cat", "a dog"]]
    diagonal = [random_loss(captions, known, vectors, Targets.diagonal) for captions in draws]
    multiple = [random_loss(captions, known, vectors, Targets.multi_positive) for captions in draws]
    assert multiple[0] == pytest.approx(multiple[1], rel=1e-6) and abs(diagonal[0] - diagonal[1]) > 0.1
    assert multiple[0] == pytest.approx(sum(diagonal) / 2, rel=1e-6)
