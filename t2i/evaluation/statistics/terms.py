"""What a number is made of, sample by sample, so that its interval, and that of its change, follow from sums.

A metric theta of a generated set (and a reference) is, to first order, its expectation plus the mean over the generated
images of what each contributes, plus the same over the images of the reference (von Mises 1947; Efron & Stein 1981,
Annals of Statistics 9): theta ~ E + mean_i a(x_i) + mean_j b(y_j). The contributions are those of the leave-one-out
jackknife, (N - 1) (mean of the values without one - value without this one), in closed form for every metric. Then

    variance for this reference = var a / N,        variance for the world = var a / N + var b / M

and the *difference* of two models that drew the same captions has the contributions a_second - a_first: no exchange of
pairs, no assumption that nothing changed. Images that share a picture (its captions, and the real picture itself) are
summed before they are squared.

Two corrections. A contribution that is itself a mean over other samples (MMD) carries their noise, and the jackknife counts
such interactions twice: they are measured by halves of the other samples (`noise`), and one of the two is taken out of the
variance of a difference. Statistics of nearest neighbours interact at every order: there leaving one out gives errors up to three
times too large, and never too small ones (Efron & Stein 1981).
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.statistics.intervals import LEVEL, Interval, around, unseen
from t2i.evaluation.statistics.shares import wilson


@dataclass(frozen=True)
class Units:
    """Which samples belong together: sampled as one, so they count as one."""

    generated: np.ndarray | None = None
    """int (N,): the picture whose caption image i was made from; None: each its own."""
    reference: np.ndarray | None = None
    """int (M,): the picture that reference image j is, in the same numbering; None: of other pictures, each its own."""


@dataclass(frozen=True)
class Terms:
    """A value and what it is made of."""

    value: float
    scale: float = 0.0
    """Size of the quantities that the value is computed from: features are float32, so smaller changes than 1e-7 of it
    are rounding."""
    lowest: float = -np.inf
    highest: float = np.inf
    """Range of the value."""
    generated: np.ndarray | None = None
    """float64 (N,), sum 0: contributions of the generated images, the whole interaction with the reference included."""
    noise: np.ndarray | None = None
    """float64 (N,): the part of `generated` that is noise of the other generated and of the reference images."""
    reference: np.ndarray | None = None
    """float64 (M,), sum 0: contributions of the reference images."""
    reference_noise: np.ndarray | None = None
    """float64 (M,): the part of `reference` that is noise of the generated images."""
    hits: np.ndarray | None = None
    """float64 (N,) of a share: 1, 0, or NaN where a sample does not count."""
    samples: int = 0
    """Images that a share without `hits` is worth at most."""
    alone: bool = False
    """Whether its samples are others than the images that `Units` speaks of, each of them drawn by itself."""
    choices: np.ndarray | None = None
    """float64 (N,) of a judge that was taught by choices between pictures: its score of each. Of two sets it is asked which
    picture of a pair it prefers (`preferences.py`)."""

    @property
    def share(self) -> bool:
        """Whether it is a share of samples, which has a score interval."""
        return (self.lowest, self.highest) == (0.0, 1.0) and (self.hits is not None or self.samples > 0)

    def alike(self, other: "Terms") -> bool:
        """Whether both are of as many images against as many of a reference."""
        return all(np.shape(getattr(self, name)) == np.shape(getattr(other, name)) for name in ARRAYS)

    def minus(self, first: "Terms") -> "Terms":
        """Of the difference self - first, of sets from the same captions with the same reference."""
        span = self.highest - self.lowest
        arrays = {
            field.name: None
            if getattr(self, field.name) is None
            else getattr(self, field.name) - getattr(first, field.name)
            for field in fields(Terms)
            if field.name in ARRAYS
        }
        return Terms(
            self.value - first.value,
            max(self.scale, first.scale),
            -span,
            span,
            samples=self.samples,
            alone=self.alone,
            **arrays,
        )

    @property
    def silent(self) -> bool:
        """No contribution at all: of a difference, two equal sets."""
        return self.value == 0.0 and not any(
            np.nan_to_num(values).any() for name in ARRAYS if (values := getattr(self, name)) is not None
        )


ROUNDING = 1e-7
"""Of the quantities that a value is computed from: what float32 features cannot tell."""

ARRAYS = ("generated", "noise", "reference", "reference_noise", "hits", "choices")


@dataclass(frozen=True)
class Spread:
    """A variance, how well it is known, and from how many independent units of generated images."""

    variance: float
    freedom: float
    units: int


def of_mean(values: np.ndarray, lowest: float = -np.inf, highest: float = np.inf) -> Terms:
    """Of the mean of `values` float64 (N,); NaN where a sample does not count."""
    known = ~np.isnan(values)
    value = float(values[known].mean())
    own = np.where(known, values - value, 0.0) * (len(values) / known.sum())
    return Terms(value, float(np.abs(values[known]).mean()), lowest, highest, generated=own)


def of_share(hits: np.ndarray) -> Terms:
    """Of the share of `hits` float64 (N,): 1, 0, or NaN where a sample does not count."""
    found = of_mean(hits, 0.0, 1.0)
    return Terms(found.value, 0.0, 0.0, 1.0, generated=found.generated, hits=hits)


def of_choices(scores: np.ndarray) -> Terms:
    """Of the mean of a judge's `scores` float64 (N,), whose change is told by which picture of each pair it prefers."""
    return replace(of_mean(scores), choices=np.asarray(scores, np.float64))


def left_one_out(without: np.ndarray) -> np.ndarray:
    """Contributions float64 (N,) from the value without each sample, float64 (N,)."""
    return (len(without) - 1) * (without.mean() - without)


def spread(terms: Terms, units: Units, world: bool, exact: bool = False) -> Spread:
    """The variance of the value: with this reference, or with one that is drawn anew as well (`world`).

    exact: without the interactions that the jackknife counts twice; of a difference, whose distribution is symmetric. The value
    of a discrepancy near zero is skewed, and what is counted too much makes up for that.
    Freedom of a sum of variances after Satterthwaite (1946, Biometrics Bulletin 2).
    """
    units = units_of(terms, units)
    if terms.generated is None:
        return Spread(np.inf, 1.0, 0)
    linked = world and terms.reference is not None and units.generated is not None and units.reference is not None
    count = len(terms.generated) if units.generated is None else len(np.unique(units.generated))
    sides = [side(terms.generated, terms.noise if exact else None, units.generated)]
    if world and terms.reference is not None:
        sides.append(side(terms.reference, terms.reference_noise if exact else None, units.reference))
    if min(number for _, number in sides) < 2:
        return Spread(np.inf, 1.0, count)
    variance = sum(part for part, _ in sides)
    # Relative parts: squares of what is itself a square may leave the range of numbers.
    parts = [(part / variance if variance > 0.0 else 1.0 / len(sides), number) for part, number in sides]
    freedom = 1.0 / sum(part**2 / max(number - 1.0, 1.0) for part, number in parts)
    if linked:
        assert terms.generated is not None and terms.reference is not None
        # A reference that is drawn anew cannot make the value surer than one that stays: without this floor covariance and noise,
        # both taken out, found changes that are not there in 10 of 100 comparisons.
        variance = max(variance + 2.0 * _covariance(terms.generated, terms.reference, units), sides[0][0])
    return Spread(float(variance), float(freedom), count)


def units_of(terms: Terms, units: Units) -> Units:
    """Which of its samples belong together."""
    return Units() if terms.alone else units


def interval(terms: Terms, units: Units, world: bool, level: float = LEVEL) -> Interval:
    """The value with its interval: Wilson's score interval for what is a share, Student's t for the rest.

    Within the range of the value; unbounded where too few samples say nothing (`Spread.units` below 2).
    """
    found = spread(terms, units, world)
    if found.units < 2:
        return Interval(terms.value, -np.inf, np.inf)
    if terms.share:
        return wilson(terms.value, worth(terms, found), level)
    if not np.isfinite(found.variance):
        return Interval(terms.value, terms.lowest, terms.highest)
    if found.variance <= (ROUNDING * terms.scale) ** 2:
        return unseen(terms.value, found.units, terms.lowest, terms.highest, level)
    open_ended = around(terms.value, float(np.sqrt(found.variance)), found.freedom, level)
    low, high = max(terms.lowest, open_ended.low), min(terms.highest, open_ended.high)
    return Interval(terms.value, min(terms.value, low), max(terms.value, high))  # rounding may leave the range


def worth(share: Terms, found: Spread) -> float:
    """As how many independent samples a share has this variance: at most as many as there are."""
    most = float(share.samples if share.hits is None else (~np.isnan(share.hits)).sum())
    if share.hits is not None and found.units == len(share.hits):
        return most
    if not 0.0 < share.value < 1.0:
        return min(most, float(found.units))
    if not 0.0 < found.variance < np.inf:
        return most
    return min(most, share.value * (1.0 - share.value) / found.variance)


def side(own: np.ndarray, noise: np.ndarray | None, labels: np.ndarray | None) -> tuple[float, float]:
    """Variance of the mean of contributions (N,), those of one unit summed first, and as many units of equal size as it is
    known from: one picture with half of all captions makes the other half worth little (Kish 1965, "Survey Sampling").
    """
    parts = _summed(own, labels)
    count = len(parts)
    if count < 2:
        return np.inf, float(count)
    squares = float(np.square(parts).sum())
    if noise is not None:
        # Of the interaction that the jackknife counts twice; more than half of it cannot be interaction.
        squares -= min(0.5 * float(np.square(_summed(noise, labels)).sum()), 0.5 * squares)
    worth = float(count)
    if labels is not None:
        sizes = np.unique(labels, return_counts=True)[1].astype(np.float64)
        worth = float(sizes.sum() ** 2 / np.square(sizes).sum())
    return squares * count / (count - 1.0), worth


def _summed(own: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Contributions to the mean: float64 (units,)."""
    if labels is None:
        return own / len(own)
    checks.same_length("labels of pictures", labels, "samples", own)
    _, place = np.unique(labels, return_inverse=True)
    return np.bincount(place, own) / len(own)


def _covariance(generated: np.ndarray, reference: np.ndarray, units: Units) -> float:
    """Of the two means, over the pictures that both sides have."""
    assert units.generated is not None and units.reference is not None
    names, place = np.unique(np.concatenate([units.generated, units.reference]), return_inverse=True)
    places = np.split(place, [len(generated)])
    sums = [
        np.bincount(labels, own, len(names)) / len(own)
        for labels, own in zip(places, (generated, reference), strict=True)
    ]
    return float(sums[0] @ sums[1])
