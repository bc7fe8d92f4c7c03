"""Intervals over images of what has several values an image: captions that are said about it, queries that look for it.

Five captions of one image are no five independent samples; counting captions would give intervals that are too narrow. Means
are sums over images (`terms.py`); a median, which is no mean, has a bootstrap that draws images with all they
have (Cameron, Gelbach and Miller 2008, doi 10.1162/rest.90.3.414, on the bootstrap of clusters).
"""

from dataclasses import dataclass

import numpy as np

from t2i.evaluation.statistics import paired
from t2i.evaluation.statistics.intervals import LEVEL, Interval
from t2i.evaluation.statistics.terms import Terms, Units, interval
from t2i.randomness import generator

MOST_DRAWN = 2**25
"""Numbers of draws held in memory (float64: 256 MiB): with more images there are fewer replicates."""


@dataclass(frozen=True)
class PerImage:
    """A mean over images of which each contributes several values: their sum and their number, float64 (N,)."""

    total: np.ndarray
    count: np.ndarray
    lowest: float = -np.inf
    highest: float = np.inf
    """Range of one value."""

    @property
    def value(self) -> float:
        """The mean over all values."""
        return float(self.total.sum() / self.count.sum())

    @property
    def terms(self) -> Terms:
        """The mean, a ratio of sums, with what each image contributes to it (Cochran 1977, "Sampling Techniques", ch. 6)."""
        own = (self.total - self.value * self.count) / self.count.mean()
        scale = float(np.abs(self.total).sum() / self.count.sum())
        return Terms(self.value, scale, self.lowest, self.highest, generated=own, samples=int(self.count.sum()))


def one_each(values: np.ndarray, lowest: float = -np.inf, highest: float = np.inf) -> PerImage:
    """One value an image; NaN stands for none."""
    known = np.isfinite(values)
    return PerImage(np.where(known, values, 0.0), known.astype(np.float64), lowest, highest)


def draws(images: int, seed: int, replicates: int) -> np.ndarray:
    """How often each image was drawn in each resample, float64 (R, images): the same for equal arguments (paired)."""
    rows = max(100, min(replicates, MOST_DRAWN // images))
    rng = generator("evaluation", "images drawn", seed, images)
    return rng.multinomial(images, np.full(images, 1.0 / images), size=rows).astype(np.float64)


def mean(values: PerImage) -> Interval:
    """The mean and its interval (`terms.py`)."""
    return interval(values.terms, Units(), world=False)


def difference(before: PerImage, after: PerImage) -> Interval:
    """after - before on the same images."""
    return paired.difference(before.terms, after.terms, Units()).difference


def gain(before: PerImage, after: PerImage) -> Interval | None:
    """100 (after - before) / before in percent, by the delta method; None unless the interval of `before` is above zero,
    which divides.
    """
    if not mean(before).low > 0:
        return None
    ratio = after.value / before.value
    old, new = before.terms.generated, after.terms.generated
    assert old is not None and new is not None
    own = 100.0 * (new - ratio * old) / before.value
    if not own.any():  # every image gained alike
        return Interval(100.0 * (ratio - 1.0), 100.0 * (ratio - 1.0), 100.0 * (ratio - 1.0))
    return interval(Terms(100.0 * (ratio - 1.0), generated=own), Units(), world=False)


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
