"""How many pairs show a change of a stated size, by simulation: the tables of docs/evaluation.md.

    python -m tools.needed [shares means judges sets]

Two models draw the same prompts with the same seeds, and how far they differ is known. A *share* (of prompts that are right)
changes by so many points, and besides so many prompts change sides without a net change, half of them each way: models of one
base agree on most prompts, and the less they do, the more are needed. A *mean* (the loss of each picture) changes by a share of
the standard deviation of the pairs' own changes, drawn from Student's t with 5 degrees, whose tails are heavier than a normal's.
*Judges* prefer one picture of a pair, or answer a question. Of *sets* a share of the first model's pictures is of nothing
(`worlds_of_sets.py`). Tests are those of the verdict, at the level that Holm's method asks of the first of so many.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
from scipy import stats

from t2i.evaluation.statistics.intervals import LEVEL
from t2i.evaluation.statistics.paired import POWER, difference
from t2i.evaluation.statistics.terms import Units, of_mean
from t2i.randomness import generator
from tools.worlds_of_sets import p_of, pair

TESTS = (1, 8)
"""Metrics of a table: one; and those of eval=composition."""
MOST = 1 << 14
Seen = Callable[[int], np.ndarray]
"""Of a number of pairs: p of many comparisons of so many."""


def share(points: int, sides: int, count: int, repetitions: int = 2000) -> np.ndarray:
    """Of a share that changes by `points`, and of `sides` per cent of prompts that change sides besides."""
    rng = generator("needed", "share", points, sides, count)
    up, down = points / 100 + sides / 200, sides / 200
    drawn = rng.multinomial(count, [up, down, 1 - up - down], size=repetitions)
    return of_signs(drawn[:, 0], drawn[:, 1])


def of_signs(gained: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """p of McNemar's exact test: both tails of the binomial distribution, which is symmetric."""
    found: np.ndarray = np.minimum(1.0, 2.0 * stats.binom.cdf(np.minimum(gained, lost), gained + lost, 0.5))
    return found


def mean(deviation: float, count: int, repetitions: int = 500) -> np.ndarray:
    """Of a mean that changes by `deviation` of the standard deviation of the pairs' changes."""
    rng = generator("needed", "mean", str(deviation), count)
    changes = deviation + rng.standard_t(5, (repetitions, count)) * np.sqrt(3 / 5)  # of unit variance
    nothing = of_mean(np.zeros(count))
    return np.array([difference(nothing, of_mean(own), Units()).p for own in changes])


def preferred(won: float, ties: float, count: int, repetitions: int = 2000) -> np.ndarray:
    """Of a judge that prefers the second picture on the share `won` of pairs, half of the `ties` counted; the sign test."""
    rng = generator("needed", "preferred", str(won), str(ties), count)
    drawn = rng.multinomial(count, [won - ties / 2, 1 - won - ties / 2, ties], size=repetitions)
    return of_signs(drawn[:, 0], drawn[:, 1])


def answered(before: float, after: float, kept: float, count: int, repetitions: int = 500) -> np.ndarray:
    """P(yes) near 0 or 1, yes on the share `before` and then `after` of pictures; of `kept` pairs the answer is the same."""
    rng = generator("needed", "answered", str(before), str(after), count)
    gained = (1.0 - kept + after - before) / 2.0
    lost = 1.0 - kept - gained
    found = np.empty(repetitions)
    for repetition in range(repetitions):
        kinds = rng.choice(4, count, p=[gained, lost, before - lost, 1.0 - before - gained])
        sides = [np.isin(kinds, yes).astype(float) for yes in ((1, 2), (0, 2))]
        first, second = (np.abs(own - rng.beta(1.0, 15.0, count)) for own in sides)
        found[repetition] = difference(of_mean(first, 0.0, 1.0), of_mean(second, 0.0, 1.0), Units()).p
    return found


def power(p: np.ndarray, tests: int) -> float:
    """Share of comparisons that find the change as the first of so many tests."""
    return float(np.mean(p <= (1 - LEVEL) / tests))


def needed(seen: Seen, tests: int) -> str:
    """The smallest number that shows the change in 80 of 100 cases, to two digits."""
    low, high = 2, 4
    while power(seen(high), tests) < POWER:
        low, high = high, 2 * high
        if high > MOST:
            return f"> {MOST:,}"
    while high - low > max(1, high // 40):
        middle = (low + high) // 2
        low, high = (low, middle) if power(seen(middle), tests) >= POWER else (middle, high)
    return f"{float(f'{high:.2g}'):,.0f}"


def _row(name: str, seen: Seen) -> tuple[str, list[str]]:
    known = cache(seen)
    return name, [needed(known, tests) for tests in TESTS]


HEADS = [f"{tests} test{'s' if tests > 1 else ''}" for tests in TESTS]
Rows = Iterator[tuple[str, list[str]]]


def shares() -> Rows:
    """Points by prompts that change sides besides."""
    sides = (0, 10, 20)
    yield "change of a share by", [f"{head}, {side} % besides" for head in HEADS for side in sides]
    for points in (5, 10, 15, 20, 30, 40):
        columns = [_row("", partial(share, points, side))[1] for side in sides]
        yield f"{points} points", [column[place] for place in range(len(TESTS)) for column in columns]


def means() -> Rows:
    """By standard deviations."""
    yield "change of a mean by", HEADS
    for deviation in (0.1, 0.2, 0.3, 0.5, 1.0):
        yield _row(f"{deviation:g} of the standard deviation", partial(mean, deviation))


def judges() -> Rows:
    """Preferences and answers."""
    yield "true change", HEADS
    for won in (0.55, 0.6, 0.65, 0.7):
        name = f"preferred on {100 * won:.0f} %"
        yield _row(name + (" (`pickscore`, `hpsv2`)" if won == 0.55 else ""), partial(preferred, won, 0.0))
        if won == 0.6:
            yield _row(f"{name}, a fifth of pairs tied", partial(preferred, won, 0.2))
    told = {
        "yes on 65 instead of 60 % of prompts, one answer in four another (`vqa_score`)": (0.6, 0.65, 0.75),
        "yes on 70 instead of 60 %, one in four": (0.6, 0.7, 0.75),
        "yes on 80 instead of 60 %, one in three": (0.6, 0.8, 0.67),
    }
    for name, world in told.items():
        yield _row(name, partial(answered, *world))


OF_SETS = ("fid", "kid", "cmmd", "inception_score", "vendi", "prdc")
SIZES = (50, 75, 100, 150, 200, 300, 400, 600, 800)
BROKEN = (0.05, 0.1, 0.2, 0.4)
"""Shares of pictures that are of nothing."""


def sets(repetitions: int = 100) -> Rows:
    """A column a size of the change and of the table; power is known to 4 points."""
    yield "metric", [f"{100 * broken:g} % of pictures, {head}" for broken in BROKEN for head in HEADS]
    found: dict[str, list[str]] = {}
    for broken in BROKEN:
        columns: dict[str, list[str]] = {}
        for count in SIZES:
            seen = [
                p_of(OF_SETS, *pair(generator("needed", "sets", str(broken), count, repetition), count, broken))
                for repetition in range(repetitions)
            ]
            for name in seen[0]:
                own = columns.setdefault(name, [""] * len(TESTS))
                for place, tests in enumerate(TESTS):
                    if not own[place] and power(np.array([p[name] for p in seen]), tests) >= POWER:
                        own[place] = str(count)
            if all(all(own) for own in columns.values()):
                break
        for name, own in columns.items():
            found.setdefault(name, []).extend(size or f"> {SIZES[-1]}" for size in own)
    yield from ((f"`{name}`", own) for name, own in found.items())


TABLES: dict[str, Callable[[], Rows]] = {"shares": shares, "means": means, "judges": judges, "sets": sets}


def main() -> None:
    """The tables that are named, or all, as Markdown."""
    for table in sys.argv[1:] or TABLES:
        rows = TABLES[table]()
        name, heads = next(rows)
        print(f"\n| {name} | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}", flush=True)
        for name, cells in rows:
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
