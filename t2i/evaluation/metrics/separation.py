"""Whether captions of one image are closer to each other than captions of two images: the cosine check."""

from dataclasses import dataclass

import numpy as np

from t2i.evaluation.statistics.intervals import LEVEL, Interval
from t2i.evaluation.vectors import unit
from t2i.randomness import generator

IMAGES = 2000
"""Images that are compared at most."""


@dataclass(frozen=True)
class Cosines:
    """Of one image each, float64 (n,): `matched` of two of its captions (empty where no image has two), `random` of
    one of them and a caption of another image (empty where there is one image).
    """

    matched: np.ndarray
    random: np.ndarray


def caption_pairs(image: np.ndarray, seed: int, most: int = IMAGES) -> tuple[np.ndarray, np.ndarray]:
    """Rows to compare: matched and random pairs, int64 (n, 2) each, n <= `most`, of images drawn without replacement.

    image: int (N,), the image of each row; rows of one image follow each other. Images with one caption are drawn
    only when none has two.
    """
    starts = np.flatnonzero(np.diff(image, prepend=-1))
    counts = np.diff(np.append(starts, len(image)))
    g = generator(seed, "cosine check")
    several = np.flatnonzero(counts > 1)
    drawn = np.sort(g.permutation(several if several.size else len(starts))[:most])
    draws = g.random((4, len(drawn)))
    left = (draws[0] * counts[drawn]).astype(np.int64)
    right = (left + 1 + (draws[1] * (counts[drawn] - 1)).astype(np.int64)) % counts[drawn]
    matched = np.stack([starts[drawn] + left, starts[drawn] + right], axis=1)[: len(several)]
    if len(starts) < 2:
        return matched, np.empty((0, 2), np.int64)
    other = (drawn + 1 + (draws[2] * (len(starts) - 1)).astype(np.int64)) % len(starts)
    far = starts[other] + (draws[3] * counts[other]).astype(np.int64)
    return matched, np.stack([starts[drawn] + left, far], axis=1)


def cosine_check(vectors: np.ndarray, image: np.ndarray, seed: int) -> Cosines:
    """The cosines of both kinds of pairs among the rows of `vectors` (N, D)."""

    def cosines(pairs: np.ndarray) -> np.ndarray:
        return (unit(vectors[pairs[:, 0]]) * unit(vectors[pairs[:, 1]])).sum(axis=1)

    matched, random = caption_pairs(image, seed)
    return Cosines(cosines(matched), cosines(random))


def separation(cosines: Cosines, seed: int, replicates: int, level: float = LEVEL) -> Interval:
    """P(matched > random) + P(equal) / 2, the area under the ROC curve (Mann & Whitney 1947), with a percentile
    interval from a bootstrap over images: a drawn image brings its matched and its random pair.

    Raises ValueError unless there are as many pairs of both kinds, at least one.
    """
    matched, random = cosines.matched, cosines.random
    if not len(matched) or len(matched) != len(random):
        raise ValueError(f"found {len(matched)} matched and {len(random)} random pairs; expected as many of both")
    order = np.argsort(random)
    below, upto = (np.searchsorted(random[order], matched, side) for side in ("left", "right"))

    def area(weights: np.ndarray) -> np.ndarray:
        """weights: how often each image counts, int (R, n); float64 (R,)."""
        less = np.pad(np.cumsum(weights[:, order], axis=1), ((0, 0), (1, 0)))
        return (weights * (less[:, below] + less[:, upto])).sum(axis=1) / (2 * len(matched) ** 2)

    tail = (1 - level) / 2
    counts = resample_counts(len(matched), seed, replicates)
    values = np.concatenate([area(counts[start : start + 128]) for start in range(0, replicates, 128)])
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(area(np.ones((1, len(matched)), np.int64))[0]), float(low), float(high))


def resample_counts(samples: int, seed: int, replicates: int) -> np.ndarray:
    """int64 (replicates, samples): how often each sample was drawn, with replacement, in each replicate.

    The counts depend on nothing but the arguments, so two sets of equal size are resampled alike (paired).
    """
    rng = generator("evaluation", "bootstrap counts", seed, samples)
    return rng.multinomial(samples, np.full(samples, 1.0 / samples), size=replicates)
