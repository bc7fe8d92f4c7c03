"""Intervals of means over captions where the images are the sample: a bootstrap that draws images with all they have.

Five captions of one image are no five independent samples; drawing captions would give intervals that are too narrow
(Cameron, Gelbach and Miller 2008, doi 10.1162/rest.90.3.414, on the bootstrap of clusters).
"""

from dataclasses import dataclass

import numpy as np

from t2i.evaluation.intervals import LEVEL, Interval
from t2i.randomness import generator

MOST_DRAWN = 2**25
"""Numbers of draws held in memory (float64: 256 MiB): with more images there are fewer replicates."""


@dataclass(frozen=True)
class PerImage:
    """A mean over images of which each contributes several values: their sum and their number, float64 (N,)."""

    total: np.ndarray
    count: np.ndarray

    @property
    def value(self) -> float:
        """The mean over all values."""
        return float(self.total.sum() / self.count.sum())

    def replicates(self, weights: np.ndarray) -> np.ndarray:
        """The mean in each resample, float64 (R,); NaN where a resample drew no value."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means: np.ndarray = (weights @ self.total) / (weights @ self.count)
        return means


def one_each(values: np.ndarray) -> PerImage:
    """One value an image; NaN stands for none."""
    known = np.isfinite(values)
    return PerImage(np.where(known, values, 0.0), known.astype(np.float64))


def draws(images: int, seed: int, replicates: int) -> np.ndarray:
    """How often each image was drawn in each resample, float64 (R, images): the same for equal arguments (paired)."""
    rows = max(100, min(replicates, MOST_DRAWN // images))
    rng = generator("evaluation", "images drawn", seed, images)
    return rng.multinomial(images, np.full(images, 1.0 / images), size=rows).astype(np.float64)


def mean(values: PerImage, weights: np.ndarray) -> Interval:
    """The mean and its percentile interval (Efron 1979)."""
    return percentile(values.value, values.replicates(weights))


def difference(before: PerImage, after: PerImage, weights: np.ndarray) -> Interval:
    """after - before on the same images, drawn together."""
    return percentile(after.value - before.value, after.replicates(weights) - before.replicates(weights))


def gain(before: PerImage, after: PerImage, weights: np.ndarray) -> Interval | None:
    """100 (after - before) / before in percent; None unless the interval of `before` is above zero, which divides."""
    if not mean(before, weights).low > 0:
        return None
    ratios = after.replicates(weights) / before.replicates(weights)
    return percentile(100 * (after.value / before.value - 1), 100 * (ratios - 1))


def median(values: np.ndarray, owner: np.ndarray, weights: np.ndarray) -> Interval:
    """The lower median of `values` (M,), the smallest that at least half of them do not exceed, and its interval.

    owner: int (M,), the image of each value.
    """
    order = np.argsort(values, kind="stable")
    ranked, owners = values[order], owner[order]
    found = []
    for start in range(0, len(weights), 64):
        mass = weights[start : start + 64][:, owners].cumsum(axis=1)
        found.append(ranked[(mass >= mass[:, -1:] / 2).argmax(axis=1)])
    return percentile(float(ranked[(len(ranked) + 1) // 2 - 1]), np.concatenate(found).astype(np.float64))


def percentile(value: float, replicates: np.ndarray) -> Interval:
    """A value between the quantiles of its replicates (R,); NaN replicates are left out."""
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.nanquantile(replicates, [tail, 1.0 - tail])
    return Interval(float(value), float(low), float(high))
