"""How many pairs show a change of a stated size, by simulation: the tables of docs/evaluation.md.

    python tools/needed.py

Two models draw the same prompts with the same seeds. A *share* (of prompts that are right, of pictures that are preferred)
changes by so many points, and besides so many prompts change sides without a net change, half of them each way: models of one
base agree on most prompts, and the less they do, the more are needed. A *mean* (the loss of each picture) changes by a share of
the standard deviation of the pairs' own changes, drawn from Student's t with 5 degrees, whose tails are heavier than a normal's.
Tests are those of the verdict: exact (McNemar) and Student's t of pairs, at the level that Holm's method asks of the first of
so many.
"""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from t2i.evaluation.statistics.intervals import LEVEL  # noqa: E402
from t2i.evaluation.statistics.paired import POWER, difference  # noqa: E402
from t2i.evaluation.statistics.terms import Units, of_mean  # noqa: E402
from t2i.randomness import generator  # noqa: E402

POINTS = (5, 10, 15, 20, 30, 40)
SIDES = (0, 10, 20)
"""Per cent of prompts that change sides besides."""
DEVIATIONS = (0.1, 0.2, 0.3, 0.5, 1.0)
TESTS = (1, 8)
"""Metrics of a table: one; and those of eval=composition."""
MOST = 1 << 14


def share_seen(points: int, sides: int, tests: int, count: int, repetitions: int = 2000) -> float:
    """Power of `count` prompts."""
    rng = generator("needed", "share", points, sides, count)
    up, down = points / 100 + sides / 200, sides / 200
    drawn = rng.multinomial(count, [up, down, 1 - up - down], size=repetitions)
    return float(np.mean(p_of(drawn[:, 0], drawn[:, 1]) <= (1 - LEVEL) / tests))


def p_of(gained: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Of McNemar's exact test: both tails of the binomial distribution, which is symmetric."""
    found: np.ndarray = np.minimum(1.0, 2.0 * stats.binom.cdf(np.minimum(gained, lost), gained + lost, 0.5))
    return found


def mean_seen(deviation: float, tests: int, count: int, repetitions: int = 500) -> float:
    """Power of `count` pictures."""
    rng = generator("needed", "mean", str(deviation), count)
    changes = deviation + rng.standard_t(5, (repetitions, count)) * np.sqrt(3 / 5)  # of unit variance
    nothing = of_mean(np.zeros(count))
    found = [difference(nothing, of_mean(own), Units()).p for own in changes]
    return float(np.mean(np.array(found) <= (1 - LEVEL) / tests))


def needed(seen: Callable[[int], float]) -> str:
    """The smallest number that shows the change in 80 of 100 cases, to two digits."""
    low, high = 2, 4
    while seen(high) < POWER:
        low, high = high, 2 * high
        if high > MOST:
            return f"> {MOST:,}"
    while high - low > max(1, high // 40):
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) >= POWER else (middle, high)
    return f"{float(f'{high:.2g}'):,.0f}"


def main() -> None:
    """Both tables as Markdown."""
    heads = [f"{tests} test{'s' if tests > 1 else ''}, {sides} % besides" for tests in TESTS for sides in SIDES]
    print(f"| change of a share by | {' | '.join(heads)} |")
    print(f"|---|{'---|' * len(heads)}")
    for points in POINTS:
        cells = [
            needed(functools.partial(share_seen, points, sides, tests)) if points + sides <= 100 else ""
            for tests in TESTS
            for sides in SIDES
        ]
        print(f"| {points} points | {' | '.join(cells)} |", flush=True)
    print(
        f"\n| change of a mean by | {' | '.join(f'{tests} test{chr(115) if tests > 1 else str()}' for tests in TESTS)} |"
    )
    print(f"|---|{'---|' * len(TESTS)}")
    for deviation in DEVIATIONS:
        cells = [needed(functools.partial(mean_seen, deviation, tests)) for tests in TESTS]
        print(f"| {deviation:g} of the standard deviation | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
