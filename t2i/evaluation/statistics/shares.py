"""Shares of samples, and how a share differs between two sets of the same pairs, from counts alone.

Both intervals are score intervals: they keep a width when every sample, or none, is a hit, and when no pair differs.
Counts may be fractions: samples that move together (captions of one picture, balls that hold the same image) count for
less, by their design effect (Rao & Scott 1981, JASA 76).

`scipy` takes a second to import and is imported where it is used: every task checks the metrics' names.
"""

import math
from dataclasses import dataclass

import numpy as np

from t2i.evaluation.statistics.intervals import LEVEL, Interval


@dataclass(frozen=True)
class Discordant:
    """Pairs of which one side is a hit and the other is not; numbers, not shares, and fractions are allowed."""

    gained: float
    lost: float
    pairs: float
    """All pairs, those that agree too."""

    @property
    def change(self) -> float:
        """Share of hits after minus share before."""
        return (self.gained - self.lost) / self.pairs

    def shrunk(self, effect: float) -> "Discordant":
        """The same shares of fewer pairs, where `effect` of them are worth one."""
        return Discordant(self.gained / effect, self.lost / effect, self.pairs / effect)


def wilson(share: float, count: float, level: float = LEVEL) -> Interval:
    """A share of `count` > 0 samples with Wilson's score interval (Wilson 1927, JASA 22)."""
    from scipy.special import ndtri

    z2 = float(ndtri((1.0 + level) / 2.0)) ** 2
    centre = (share + z2 / (2.0 * count)) / (1.0 + z2 / count)
    half = math.sqrt(z2 / count * (share * (1.0 - share) + z2 / (4.0 * count))) / (1.0 + z2 / count)
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def tango(counts: Discordant, level: float = LEVEL) -> Interval:
    """Change of a paired share with Tango's score interval (Tango 1998, Statistics in Medicine 17, eq. 9).

    The bounds are the changes at which the score statistic, with the share of losses that is likeliest under that
    change, reaches the normal quantile; found by bisection to 1e-12.
    """
    from scipy.special import ndtri

    z = float(ndtri((1.0 + level) / 2.0))
    found = counts.change

    def excess(change: float) -> float:
        """|score| - z: below zero inside of the interval."""
        gap, variance = abs(found - change), _variance(counts, change)
        if variance <= 0.0:
            return -z if gap < 1e-12 else math.inf
        return gap / math.sqrt(variance) - z

    def bound(end: float) -> float:
        if abs(end - found) < 1e-12 or excess(end) <= 0.0:
            return end
        inner = found
        for _ in range(60):  # bisection: the score may be infinite at the end of the range
            middle = (inner + end) / 2.0
            inner, end = (middle, end) if excess(middle) <= 0.0 else (inner, middle)
        return inner

    return Interval(found, bound(-1.0), bound(1.0))


def mcnemar(counts: Discordant) -> float:
    """Two-sided p of the exact test that as many pairs are gained as lost (McNemar 1947; binomial); 1 when none differs.

    For fractional counts the score test that Tango's interval inverts at no change, (gained - lost)^2 / (gained + lost).
    """
    from scipy import stats

    differing = counts.gained + counts.lost
    if not differing:
        return 1.0
    if all(float(value).is_integer() for value in (counts.gained, counts.lost)):
        return float(stats.binomtest(int(counts.gained), int(differing)).pvalue)
    return float(2.0 * stats.norm.sf(abs(counts.gained - counts.lost) / math.sqrt(differing)))


def smallest_change(counts: Discordant, level: float, power: float) -> float:
    """The smallest change that the test sees with chance `power` at two-sided p <= 1 - `level`, where as many pairs
    differ as here, or as many more as the change itself needs; 1 where no change would be seen.
    """
    from scipy import stats

    base = (counts.gained + counts.lost) / counts.pairs

    def chance(change: float) -> float:
        """Over the number of pairs that differ, which is drawn too."""
        rate = max(base, change)
        ends = [float(stats.binom.ppf(tail, int(counts.pairs), rate)) for tail in (1e-4, 1.0 - 1e-4)]
        differing = np.unique(np.linspace(ends[0], ends[1], 200).round()).astype(np.int64)
        weights = stats.binom.pmf(differing, int(counts.pairs), rate)
        fewest = stats.binom.isf((1.0 - level) / 2.0, differing, 0.5) + 1.0  # of one sign; fewer are no evidence
        seen = stats.binom.sf(fewest - 1.0, differing, (1.0 + change / rate) / 2.0)
        return float(weights @ seen / weights.sum())

    low, high = 0.0, 1.0
    if chance(high) < power:
        return 1.0
    for _ in range(30):
        middle = (low + high) / 2.0
        low, high = (low, middle) if chance(middle) >= power else (middle, high)
    return high


def _variance(counts: Discordant, change: float) -> float:
    """Of the change found, if the true one were `change`: (2 q + change (1 - change)) / n with q, the likeliest share of
    losses under it (Tango 1998, eq. 6)."""
    n, gained, lost = counts.pairs, counts.gained, counts.lost
    linear = -gained - lost + (2.0 * n - gained + lost) * change
    constant = -lost * change * (1.0 - change)
    likeliest = (math.sqrt(max(0.0, linear * linear - 8.0 * n * constant)) - linear) / (4.0 * n)
    return max(0.0, 2.0 * likeliest + change * (1.0 - change)) / n
