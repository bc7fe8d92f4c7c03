"""How close images and their captions lie, how far from those of others, and how evenly both fill the sphere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2i.evaluation.metrics.retrieval import blocks
from t2i.evaluation.metrics.zero_shot import unit
from t2i.evaluation.statistics import clustered
from t2i.evaluation.statistics.clustered import PerImage
from t2i.evaluation.statistics.intervals import Interval
from t2i.randomness import generator

UNIFORMITY_SAMPLE = 1000
"""Features whose pairs are looked at, drawn where there are more: there are half a million pairs of them."""


@dataclass(frozen=True)
class Cosines:
    """Cosines of each image with its own captions and with those of other images."""

    matched: PerImage
    mismatched: PerImage

    @property
    def margin(self) -> PerImage:
        """For each image: mean cosine of its own captions less that of the others."""
        with np.errstate(invalid="ignore", divide="ignore"):
            values = self.matched.total / self.matched.count - self.mismatched.total / self.mismatched.count
        return clustered.one_each(values, -2.0, 2.0)

    @property
    def alignment(self) -> PerImage:
        """Squared distance of an image and its caption on the unit sphere, 2 - 2 cos (Wang and Isola 2020,
        arXiv:2005.10242, eq. 1 with alpha = 2): smaller is closer.
        """
        return PerImage(2 * self.matched.count - 2 * self.matched.total, self.matched.count, 0.0, 4.0)


def cosines(image_features: np.ndarray, text_features: np.ndarray, said: Sequence[Sequence[int]]) -> Cosines:
    """Of images (N, D) and the distinct captions (K, D); said: for each image the rows of its captions, one at least.

    A caption that is said about an image twice counts twice, and one that is also said about it is never a mismatch.
    """
    images, texts = unit("image", image_features), unit("caption", text_features)
    often = np.bincount([row for rows in said for row in rows], minlength=len(texts)).astype(np.float64)
    wrong, others = [], []
    for found, right in blocks(images, texts, said):
        wrong.append(np.where(right, 0.0, found) @ often)
        others.append((~right) @ often)
    own = np.array([(texts[list(rows)] @ image).sum() for image, rows in zip(images, said, strict=True)])
    counts = np.array([len(rows) for rows in said], dtype=np.float64)
    sides = (own, counts), (np.concatenate(wrong), np.concatenate(others))
    return Cosines(*(PerImage(total, count, -1.0, 1.0) for total, count in sides))


def uniformity(features: np.ndarray, seed: int, replicates: int) -> Interval:
    """log of the mean of exp(-2 |x - y|^2) over pairs of different rows of (N, D), brought to length one: the smaller,
    the more evenly they are spread (Wang and Isola 2020, eq. 2 with t = 2). Interval: bootstrap over rows, in which
    copies of one row make no pair.
    """
    rows = unit("uniformity", features)
    if len(rows) > UNIFORMITY_SAMPLE:
        chosen = generator("evaluation", "uniformity", seed, len(rows)).permutation(len(rows))[:UNIFORMITY_SAMPLE]
        rows = rows[np.sort(chosen)]
    kernel = np.exp(-2 * np.clip(2 - 2 * rows @ rows.T, 0, None))
    np.fill_diagonal(kernel, 0.0)
    weights = clustered.draws(len(rows), seed, replicates)
    pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
    with np.errstate(invalid="ignore"):  # a resample of one row's copies has no pair: NaN, left out below
        resampled = np.log(((weights @ kernel) * weights).sum(1) / pairs)
    return clustered.percentile(float(np.log(kernel.sum() / (len(rows) * (len(rows) - 1)))), resampled)
