"""Did it change? Differences of two sets that were made from the same captions with the same seeds.

One statistic a metric: the difference of the two values over its standard error, from the difference of what each pair
contributes (`terms.py`), held against Student's t. So the test asks whether the *metric* changed and not
whether the two distributions are the same, which exchanging pairs asks and which two different models never are (Chung &
Romano 2013, Annals of Statistics 41: what is compared must be studentised). Where there is a reference its own sampling
error is part of it: two models that are equally far from the world are not equally far from 100 pictures of it.

Shares of samples have McNemar's exact test and Tango's score interval. In every case p <= 5 % exactly where the 95 %
interval leaves zero out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.statistics import shares
from t2i.evaluation.statistics.intervals import LEVEL, Interval, around
from t2i.evaluation.statistics.preferences import Wins, wins
from t2i.evaluation.statistics.shares import Discordant
from t2i.evaluation.statistics.terms import ROUNDING, Spread, Terms, Units, spread

POWER = 0.8
"""Chance with which `smallest_detectable` would be seen."""

STUDENT, MCNEMAR, EQUAL, FEW = "Student's t of pairs", "McNemar's exact test", "equal sets", "too few pairs"
PREFERRED = "sign test of which picture is preferred"


@dataclass(frozen=True)
class PairedDifference:
    """How `b` differs from `a` on the same captions and seeds."""

    difference: Interval
    """Value of b minus value of a. With a reference: for the world that it is drawn from."""
    p: float
    """Two-sided: chance of a difference at least as large if the metric had not changed."""
    standard_error: float
    test: str
    """What `p` and the interval come from."""
    freedom: float = np.inf
    """Degrees of freedom of the standard error."""
    pairs: int = 0
    """Independent pairs: captions of one picture are one."""
    counts: Discordant | None = None
    """Of a share: the pairs that differ."""
    wins: Wins | None = None
    """Of a judge taught by choices: how often it prefers the second picture. `p`, `test` and `smallest_detectable` are of it;
    `difference` is that of the mean scores."""

    def smallest_detectable(self, tests: int = 1) -> float:
        """The smallest change that this test shows in 80 of 100 cases when it is one of `tests` in a table.

        At the level that Holm's method asks of the first of them, (1 - LEVEL) / tests: the quantiles of t for it and for
        the power, times the standard error (Cohen 1988, "Statistical Power Analysis", ch. 2); of shares, by the binomial
        distribution of McNemar's test. Of `wins`: of the share that is preferred, from one half.
        """
        from scipy.special import stdtrit

        level = 1.0 - (1.0 - LEVEL) / tests
        if self.counts is not None:
            return shares.smallest_change(self.counts, level, POWER) / (1 if self.wins is None else 2)
        if not self.standard_error < np.inf:
            return np.inf
        quantiles = stdtrit(self.freedom, (1.0 + level) / 2.0) + stdtrit(self.freedom, POWER)
        return float(quantiles * self.standard_error)


def fewest_pairs(tests: int = 1) -> int:
    """Pairs below which no test of pairs can reach the level of a table of `tests`: 2 / 2^n is the least p that n signs
    have (Fisher 1935, "The Design of Experiments", ch. 3)."""
    return int(np.ceil(np.log2(2.0 * tests / (1.0 - LEVEL))))


def difference(first: Terms, second: Terms, units: Units) -> PairedDifference:
    """How `second` differs from `first`, of N images each from the same captions, with the same reference.

    Raises UserError when the sets differ in length.
    """
    for name in ("generated", "reference"):
        if getattr(first, name) is not None and getattr(second, name) is not None:
            checks.same_length(
                f"{name} samples of the first", getattr(first, name), "of the second", getattr(second, name)
            )
    change = second.minus(first)
    found = spread(change, units, world=True, exact=True)
    error = float(np.sqrt(found.variance))
    if first.choices is not None and second.choices is not None and np.isfinite(error):
        return _of_choices(first.choices, second.choices, change, found, units)
    if change.hits is not None and np.isfinite(error):
        return _of_shares(change, found)
    if not np.isfinite(error):
        return PairedDifference(Interval(change.value, -np.inf, np.inf), 1.0, np.inf, FEW, pairs=found.units)
    if change.silent:
        return PairedDifference(Interval(0.0, 0.0, 0.0), 1.0, error, EQUAL, found.freedom, found.units)
    if error == 0.0 and change.samples and change.highest == 1.0:  # a share, and not a density
        return _saturated(change, found)
    return _of_means(change, found, float(np.hypot(error, ROUNDING * change.scale)))


def _of_means(change: Terms, found: Spread, error: float) -> PairedDifference:
    from scipy.special import stdtr

    interval = around(change.value, error, found.freedom)
    p = float(2.0 * stdtr(found.freedom, -abs(change.value) / error))
    least = 2.0 ** (1 - found.units)  # of thousands of pairs: 0
    if p < least:
        p = least
        if p > 1.0 - LEVEL:  # so few signs are no evidence, however equal the changes
            interval = Interval(interval.value, min(0.0, interval.low), max(0.0, interval.high))
    interval = Interval(change.value, max(change.lowest, interval.low), min(change.highest, interval.high))
    return PairedDifference(interval, p, error, STUDENT, found.freedom, found.units)


def _of_choices(first: np.ndarray, second: np.ndarray, change: Terms, found: Spread, units: Units) -> PairedDifference:
    """The difference of the mean scores, with its interval; p of which picture of each pair is preferred."""
    preferred, p, counts = wins(first, second, units)
    error = float(np.sqrt(found.variance))
    interval = Interval(0.0, 0.0, 0.0) if change.silent else around(change.value, error, found.freedom)
    return PairedDifference(interval, p, error, PREFERRED, found.freedom, found.units, counts, preferred)


def _of_shares(change: Terms, found: Spread) -> PairedDifference:
    """McNemar's test and Tango's interval; where captions share pictures, of as many pairs as they are worth."""
    assert change.hits is not None
    known = change.hits[~np.isnan(change.hits)]
    counts = Discordant(float((known > 0).sum()), float((known < 0).sum()), float(len(known)))
    single = float(known.var()) / len(known)
    effect = 1.0
    if found.units < len(known):
        effect = max(1.0, found.variance / single) if single > 0.0 else len(known) / found.units
    worth = counts.shrunk(effect) if effect > 1.0 else counts
    p, interval = shares.mcnemar(worth), shares.tango(worth)
    if p > 1.0 - LEVEL:  # the exact test asks for a little more than the score interval where few pairs differ
        interval = Interval(interval.value, min(0.0, interval.low), max(0.0, interval.high))
    return PairedDifference(
        interval,
        p,
        float(np.sqrt(found.variance)),
        MCNEMAR,
        found.freedom,
        found.units,
        worth,
    )


def _saturated(change: Terms, found: Spread) -> PairedDifference:
    """Of shares that no part of the set moves (none or all are hits): as if each sample were a pair."""
    count = float(change.samples)
    counts = Discordant(max(0.0, change.value) * count, max(0.0, -change.value) * count, count)
    p, interval = shares.mcnemar(counts), shares.tango(counts)
    return PairedDifference(interval, p, 0.0, MCNEMAR, found.freedom, found.units, counts)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p values adjusted for a table of them, float64 (n,), in the order given: at most `1 - level` of tables without a
    true change then show one (Holm 1979, Scandinavian Journal of Statistics 6). UserError outside [0, 1].
    """
    values = checks.shares("p values", np.asarray(p_values, dtype=np.float64))
    order = np.argsort(values)
    scaled = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(scaled, 1.0)
    return adjusted
