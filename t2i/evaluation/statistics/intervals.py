"""How sure a number is: an interval around it, and the intervals of plain means.

An interval says how far the number would move if the same model drew other samples for the same protocol
(N, extractor, reference); it does not say how far the metric is from its value at infinite N.

Means have Student's t, which is exact for normal values at every N: a bootstrap covers 47, 75 and 91 % at N = 2, 3 and 5.
Shares have score intervals (`t2i/evaluation/statistics/shares.py`). Everything else is a sum of what each sample contributes:
`t2i/evaluation/statistics/terms.py`.

`scipy` is imported where it is used: every task checks the metrics' names. Quantiles and tails of the normal and of Student's t
are those of `scipy.special`, by which `scipy.stats`, ten times as slow to import, computes its own.
"""

from dataclasses import dataclass

import numpy as np

from t2i.evaluation import checks

LEVEL = 0.95
"""Share of repetitions that an interval is meant to cover."""


@dataclass(frozen=True)
class Interval:
    """A point estimate and the bounds around it, in the metric's own unit."""

    value: float
    low: float
    high: float


def mean(values: np.ndarray, lowest: float = -np.inf, highest: float = np.inf, level: float = LEVEL) -> Interval:
    """Mean of `values` (N,), NaN left out, with Student's interval (Student 1908), within the range of a value.

    Equal values tell nothing of their spread: then the interval takes in what the share of other values, of which N
    show none, may do to the mean (`unseen`); unbounded where the range is, and for a single value. Raises UserError for
    infinite values, or where no value is left.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    checks.features("per-sample", known[:, None], least=1)
    value, count = float(known.mean()), len(known)
    if count < 2:
        return Interval(value, lowest, highest)
    if not known.std() > 0.0:
        return unseen(value, count, lowest, highest, level)
    found = around(value, float(known.std(ddof=1)) / count**0.5, count - 1, level)
    return Interval(value, max(lowest, found.low), min(highest, found.high))


def unseen(value: float, count: int, lowest: float, highest: float, level: float = LEVEL) -> Interval:
    """A mean of `count` equal values: a share of at most 1 - (1 - level)^(1/count) has others, anywhere in the range
    (Louis 1981, The American Statistician 35, on shares of which none was seen).
    """
    share = 1.0 - (1.0 - level) ** (1.0 / count)
    low = value if value <= lowest else value - share * (value - lowest)
    return Interval(value, low, value if value >= highest else value + share * (highest - value))


def around(value: float, error: float, freedom: float, level: float = LEVEL) -> Interval:
    """`value` with Student's t of `freedom` degrees around it, for a standard error `error`."""
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, (1.0 + level) / 2.0)) * error
    return Interval(value, value - half, value + half)


def difference_of_means(first: np.ndarray, second: np.ndarray, level: float = LEVEL) -> Interval:
    """Mean of `first` (N,) minus mean of `second` (M,), of different images, with Welch's interval (Biometrika 34, 1947).

    Raises UserError for fewer than two values on a side, or for values that are not finite.
    """
    sides = [
        checks.features("per-sample", np.asarray(side, dtype=np.float64)[:, None])[:, 0] for side in (first, second)
    ]
    value = float(sides[0].mean() - sides[1].mean())
    if not any(side.std() for side in sides):
        return Interval(value, -np.inf, np.inf)  # equal values tell nothing of their spread
    spreads = [float(side.var(ddof=1)) / len(side) for side in sides]  # of each mean
    freedom = sum(spreads) ** 2 / sum(spread**2 / (len(side) - 1) for spread, side in zip(spreads, sides, strict=True))
    return around(value, sum(spreads) ** 0.5, freedom, level)
