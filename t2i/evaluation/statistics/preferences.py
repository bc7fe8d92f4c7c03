"""Which of two sets is preferred: on what share of pairs a judge gives the second picture the higher score.

A judge that was taught by choices (PickScore, HPSv2) is asked what it was taught: which of two pictures for one prompt. The
share of pairs that the second set wins, half of each tie, is (1 + (won - lost) / pairs) / 2, so the interval is Tango's for
(won - lost) / pairs and p is McNemar's exact test that as many are won as lost: the sign test, which leaves ties out (Dixon &
Mood 1946, JASA 41). Without ties the interval is Wilson's for the share. Pairs of one prompt, or of one picture's captions, are
no independent ones: they count for as many as they are worth, by the variance of the sums of each unit.
"""

from dataclasses import dataclass

import numpy as np

from t2i.evaluation.statistics import shares
from t2i.evaluation.statistics.intervals import LEVEL, Interval
from t2i.evaluation.statistics.shares import Discordant
from t2i.evaluation.statistics.terms import Units, of_mean, spread

TIE = 1e-6
"""Of the mean size of the scores: what is closer is a tie. Scores come from float32 features."""


@dataclass(frozen=True)
class Wins:
    """How often the second picture of a pair is preferred."""

    share: Interval
    """Of pairs, half of each tie, in [0, 1]."""
    won: int
    lost: int
    tied: int
    units: int
    """Independent pairs."""

    @property
    def pairs(self) -> int:
        """All of them."""
        return self.won + self.lost + self.tied

    @property
    def words(self) -> str:
        """`preferred on 61 % of 200 prompts [54, 67]`; of pairs that share prompts: `of 800 pairs (200 independent)`."""
        percent = [100.0 * bound for bound in (self.share.value, self.share.low, self.share.high)]
        shared = self.units < self.pairs
        of = f"{self.pairs:,} pairs ({self.units:,} independent)" if shared else f"{self.pairs:,} prompts"
        return f"preferred on {percent[0]:.0f} % of {of} [{percent[1]:.0f}, {percent[2]:.0f}]"

    @property
    def ties(self) -> str:
        """`, 3 ties, half to each`; empty where there is none."""
        return f", {self.tied:,} {'tie' if self.tied == 1 else 'ties'}, half to each" if self.tied else ""


def wins(first: np.ndarray, second: np.ndarray, units: Units) -> tuple[Wins, float, Discordant]:
    """Of scores float64 (N,) of both pictures of each pair: the share, its p, and what pairs are worth.

    p <= 5 % exactly where the interval leaves one half out.
    """
    scale = float(np.abs(np.concatenate([first, second])).mean())
    change = second - first
    signs = np.where(np.abs(change) <= TIE * scale, 0.0, np.sign(change))
    own = of_mean(signs, -1.0, 1.0)
    found = spread(own, units, world=False)
    counts = Discordant(float((signs > 0).sum()), float((signs < 0).sum()), float(len(signs)))
    worth = counts.shrunk(_effect(signs, found.variance, found.units))
    p, net = shares.mcnemar(worth), shares.tango(worth)
    if p > 1.0 - LEVEL:  # the exact test asks for a little more than the score interval where few pairs differ
        net = Interval(net.value, min(0.0, net.low), max(0.0, net.high))
    share = Interval(*((1.0 + value) / 2.0 for value in (net.value, net.low, net.high)))
    told = Wins(share, int(counts.gained), int(counts.lost), int((signs == 0).sum()), found.units)
    return told, p, worth


def _effect(signs: np.ndarray, variance: float, units: int) -> float:
    """How many pairs are worth one (Kish 1965, "Survey Sampling"); 1 where each is of its own."""
    if units >= len(signs):
        return 1.0
    single = float(signs.var()) / len(signs)
    return max(1.0, variance / single) if single > 0.0 and np.isfinite(variance) else len(signs) / max(1, units)
