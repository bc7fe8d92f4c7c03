"""How sure a number is: bootstrap intervals, intervals of shares, and paired differences.

An interval says how far the number would move if the same model drew other samples for the same protocol
(N, extractor, reference); it does not say how far the metric is from its value at infinite N.

`scipy.stats` takes a second to import and is imported where it is used: every task checks the metrics' names.
"""

from dataclasses import dataclass

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.randomness import generator

LEVEL = 0.95
"""Share of repetitions that an interval is meant to cover."""

_BATCH_ELEMENTS = 2**22
"""Resampled values held in memory at once (float64: 32 MiB)."""


@dataclass(frozen=True)
class Interval:
    """A point estimate and the bounds around it, in the metric's own unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """How `b` differs from `a` on the same samples."""

    difference: Interval
    """Mean of b - a."""
    wins: int
    """Samples where b is larger."""
    losses: int
    """Samples where b is smaller."""
    ties: int
    sign_test_p: float
    """Two-sided exact sign test; ties are left out (Dixon and Mood 1946)."""


def bootstrap_mean(values: np.ndarray, seed: int, replicates: int = 2000, level: float = LEVEL) -> Interval:
    """Mean of `values` (N,) with its percentile-bootstrap interval (Efron 1979), through `scipy.stats.bootstrap`."""
    from scipy import stats

    values = checks.features("per-sample", np.asarray(values)[:, None])[:, 0]
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=replicates,
        batch=max(1, _BATCH_ELEMENTS // len(values)),
        confidence_level=level,
        method="percentile",
        rng=generator("evaluation", "bootstrap mean", seed),
    )
    low, high = result.confidence_interval
    return Interval(float(values.mean()), float(low), float(high))


def share(hits: np.ndarray, level: float = LEVEL) -> Interval:
    """Share of true values in `hits` (N,) with Wilson's score interval (Wilson 1927).

    Unlike the bootstrap it keeps a width when every sample, or none, is a hit.
    """
    from scipy import stats

    if len(hits) == 0:
        raise UserError("a share was asked of no samples: expected at least one")
    bounds = stats.binomtest(int(np.sum(hits)), len(hits)).proportion_ci(level, method="wilson")
    return Interval(float(np.mean(hits)), float(bounds.low), float(bounds.high))


def resample_counts(samples: int, seed: int, replicates: int) -> np.ndarray:
    """int64 (replicates, samples): how often each sample was drawn, with replacement, in each replicate.

    The counts depend on nothing but the arguments, so two sets of equal size are resampled alike (paired).
    """
    rng = generator("evaluation", "bootstrap counts", seed, samples)
    return rng.multinomial(samples, np.full(samples, 1.0 / samples), size=replicates)


def centred(value: float, replicates: np.ndarray, level: float = LEVEL) -> Interval:
    """Percentile interval of bootstrap `replicates` (R,), shifted so that their mean falls on `value`.

    A resample repeats samples, so it is narrower than the set that it came from: FID and KID of resamples are
    biased upwards, the Inception Score downwards. The spread is right, the place is not; the shift takes the
    bootstrap's estimate of that bias out (Efron and Tibshirani 1993, section 10.2).
    """
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(replicates, [tail, 1.0 - tail]) - (replicates.mean() - value)
    return Interval(float(value), float(low), float(high))


def paired_difference(
    a: np.ndarray, b: np.ndarray, seed: int, replicates: int = 2000, level: float = LEVEL
) -> PairedDifference:
    """Scores `a` and `b` (N,) of the same prompts and seeds: mean of b - a, its interval, and a sign test."""
    from scipy import stats

    checks.same_length("scores of the first run", a, "scores of the second", b)
    change = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    difference = bootstrap_mean(change, seed, replicates, level)
    wins, losses = int((change > 0).sum()), int((change < 0).sum())
    p = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return PairedDifference(difference, wins, losses, len(change) - wins - losses, p)
