"""Did it change? Differences of two sets that share nothing but the reference: other captions, other seeds, another tool.

As of pairs (`paired.py`), one statistic a metric: the difference of the two values over its standard error, from what each
picture contributes. Nothing cancels between the two sets: their variances add up, each from its own contributions (Welch
1938, Biometrika 29), and only what a picture of the common reference contributes to both is a difference. Shares of samples
have the interval of Agresti and Caffo (2000, The American Statistician 54), and the test that it is the interval of.
"""

import math

import numpy as np

from t2i.evaluation.statistics.intervals import LEVEL, Interval, around
from t2i.evaluation.statistics.paired import EQUAL, FEW, PairedDifference
from t2i.evaluation.statistics.terms import ROUNDING, Spread, Terms, Units, side, spread, units_of, worth

WELCH, SHARES = "Welch's t of independent sets", "Agresti and Caffo's test of two shares"


def fewest_each(tests: int = 1) -> int:
    """Pictures of each set below which no test can reach the level of a table of `tests`: 2 / C(2n, n) is the least p of two
    sets of n that are exchanged in every way (Fisher 1935, "The Design of Experiments")."""
    count = 2
    while _least_p(count, count) > (1.0 - LEVEL) / tests:
        count += 1
    return count


def difference(first: Terms, second: Terms, units: tuple[Units, Units]) -> PairedDifference:
    """How `second` differs from `first`, two independent sets against the same reference, or none. units: of each."""
    change, units = second.value - first.value, (units_of(first, units[0]), units_of(second, units[1]))
    counts = [_count(own, label) for own, label in zip((first, second), units, strict=True)]
    pairs = min(counts)
    span = (first.lowest - second.highest, second.highest - first.lowest)
    if first.hits is not None and second.hits is not None:
        return _of_shares(first, second, units, pairs)
    found = _spread(first, second, units)
    error = math.sqrt(found.variance)
    if not math.isfinite(error):
        return PairedDifference(Interval(change, -np.inf, np.inf), 1.0, np.inf, FEW, pairs=pairs)
    if error == 0.0 and first.samples and first.highest == 1.0:
        return _of_shares(first, second, units, pairs)
    if change == 0.0 and error == 0.0:
        return PairedDifference(Interval(0.0, 0.0, 0.0), 1.0, 0.0, EQUAL, found.freedom, pairs)
    scale = max(first.scale, second.scale)
    return _told(change, float(np.hypot(error, ROUNDING * scale)), found.freedom, WELCH, counts, span)


def _spread(first: Terms, second: Terms, units: tuple[Units, Units]) -> Spread:
    """The variance of the difference."""
    if first.generated is None or second.generated is None:
        return Spread(np.inf, 1.0, 0)
    parts = []
    for own, label in zip((first, second), units, strict=True):
        assert own.generated is not None
        variance, worth_ = side(own.generated, own.noise, label.generated)
        parts.append((variance, max(worth_ - 1.0, 1.0)))
    if first.reference is not None and second.reference is not None:
        noise = (
            None
            if first.reference_noise is None or second.reference_noise is None
            else second.reference_noise - first.reference_noise
        )
        variance, worth_ = side(second.reference - first.reference, noise, units[0].reference)
        parts.append((variance, max(worth_ - 1.0, 1.0)))
    total = sum(variance for variance, _ in parts)
    if not 0.0 < total < np.inf:
        return Spread(total, 1.0, 0)
    # Satterthwaite (1946, Biometrics Bulletin 2).
    return Spread(total, 1.0 / sum((variance / total) ** 2 / freedom for variance, freedom in parts), 0)


def _of_shares(first: Terms, second: Terms, units: tuple[Units, Units], pairs: int) -> PairedDifference:
    """One hit and one miss are added to each set, which has as many samples as its captions are worth."""
    sizes = [worth(own, spread(own, label, world=True)) for own, label in zip((first, second), units, strict=True)]
    means = [(own.value * size + 1.0) / (size + 2.0) for own, size in zip((first, second), sizes, strict=True)]
    error = math.sqrt(sum(mean * (1.0 - mean) / (size + 2.0) for mean, size in zip(means, sizes, strict=True)))
    found = _told(means[1] - means[0], error, np.inf, SHARES, [pairs, pairs], (-1.0, 1.0))
    change = second.value - first.value
    own = found.difference
    return PairedDifference(
        Interval(change, min(change, own.low), max(change, own.high)), found.p, error, SHARES, np.inf, pairs
    )


def _told(
    change: float, error: float, freedom: float, test: str, counts: list[int], span: tuple[float, float]
) -> PairedDifference:
    from scipy.special import stdtr

    own = around(change, error, freedom)
    p = max(float(2.0 * stdtr(freedom, -abs(change) / error)), _least_p(*counts))
    if p > 1.0 - LEVEL:  # so few pictures are no evidence, however far apart the sets
        own = Interval(own.value, min(0.0, own.low), max(0.0, own.high))
    own = Interval(change, max(span[0], own.low), min(span[1], own.high))
    return PairedDifference(own, p, error, test, freedom, min(counts))


def _count(own: Terms, units: Units) -> int:
    """Independent pictures of a set."""
    if units.generated is not None:
        return len(np.unique(units.generated))
    return own.samples if own.generated is None else len(own.generated)


def _least_p(first: int, second: int) -> float:
    """The least two-sided p that two sets of so many can have when they are exchanged in every way."""
    ways = math.lgamma(first + second + 1) - math.lgamma(first + 1) - math.lgamma(second + 1)
    return min(1.0, 2.0 * math.exp(-ways))
