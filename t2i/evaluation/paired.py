"""Did it change? Differences of two sets that were made from the same prompts with the same seeds.

Means over images (CLIP score) have a paired bootstrap and a sign test. Everything else is tested by swapping: if nothing
changed, the two images of a pair could as well have been exchanged, so exchanging each pair by the toss of a coin gives
other values of the difference that were as likely (Fisher 1935, "The Design of Experiments", ch. 3; for MMD: Gretton et
al. 2012, JMLR 13). That test is exact at every N and for every metric. Its interval is the set of changes that the coin
tosses do not reach: found difference -+ their 95 % quantile. Each replicate holds N different images, so the bias of
FID at finite N, and that of repeated images in a bootstrap, are the same on both sides and cancel.

Exchanging assumes that nothing changed; around a change d that is large, the interval is wider than it needs to be (by
d^2 / N in the squared standard error).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.intervals import LEVEL, Interval, bootstrap_mean
from t2i.randomness import generator

POWER = 0.8
"""Chance with which `smallest_detectable` would be seen."""


@dataclass(frozen=True)
class PairedDifference:
    """How `b` differs from `a` on the same prompts and seeds."""

    difference: Interval
    """Value of b minus value of a."""
    p: float
    """Two-sided: chance of a difference at least as large if nothing had changed."""
    standard_error: float
    """Of the difference, if nothing had changed."""
    test: str
    """What `p` comes from."""
    wins: int | None = None
    """Samples where b is larger; None for a metric without a value per sample. So too `losses` and `ties`."""
    losses: int | None = None
    ties: int | None = None
    size: Interval | None = None
    """Where a change was found whose interval assumes none: the difference with a paired bootstrap interval."""

    @property
    def smallest_detectable(self) -> float:
        """The smallest change that this N would have shown (`smallest_detectable`)."""
        return smallest_detectable(self.standard_error)


def paired_difference(
    a: np.ndarray, b: np.ndarray, seed: int, replicates: int = 2000, level: float = LEVEL
) -> PairedDifference:
    """Scores `a` and `b` (N,) of the same prompts and seeds: mean of b - a with its bootstrap interval, and the
    two-sided exact sign test, ties left out (Dixon & Mood 1946). UserError for unequal lengths or non-finite scores.
    """
    from scipy import stats

    checks.same_length("scores of the first run", a, "scores of the second", b)
    change = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    difference = bootstrap_mean(change, seed, replicates, level)
    wins, losses = int((change > 0).sum()), int((change < 0).sum())
    p = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    error = float(change.std(ddof=1) / np.sqrt(len(change)))
    return PairedDifference(difference, p, error, "sign test", wins, losses, len(change) - wins - losses)


def swap_test(
    change: float,
    swapped: Callable[[np.ndarray], np.ndarray],
    samples: int,
    seed: int,
    replicates: int,
    level: float = LEVEL,
) -> PairedDifference:
    """The difference `change` between two sets of `samples` pairs, and how far coin tosses alone would take it.

    `swapped` receives which pairs are exchanged, bool (R, samples), and returns the R differences float64. Exchanging
    the other pairs instead gives the negative, so half of `replicates` are computed.
    """
    tosses = generator("evaluation", "swaps", seed, samples).integers(0, 2, (max(1, replicates // 2), samples))
    reached = np.sort(np.abs(swapped(tosses.astype(bool))))
    # Equal up to rounding counts as reached: two equal sets have p = 1.
    slack = 1e-9 * max(abs(change), float(reached[-1]))
    p = (1 + int((reached >= abs(change) - slack).sum())) / (1 + len(reached))
    half = float(reached[min(len(reached), int(np.ceil(level * (len(reached) + 1)))) - 1])
    if abs(half - abs(change)) <= slack:
        half = abs(change)  # shares of few images tie often, and a tie is no evidence
    error = float(np.sqrt(np.square(reached).mean()))
    return PairedDifference(Interval(change, change - half, change + half), p, error, "swaps of pairs")


def smallest_detectable(standard_error: float, power: float = POWER, level: float = LEVEL) -> float:
    """The change that a two-sided test at 1 - `level` sees with chance `power`: (z_(1-alpha/2) + z_power) times the
    standard error of the difference, 2.80 times at 5 % and 80 % (Cohen 1988, "Statistical Power Analysis", ch. 2).
    """
    from scipy import stats

    return float((stats.norm.ppf((1.0 + level) / 2.0) + stats.norm.ppf(power)) * standard_error)


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
