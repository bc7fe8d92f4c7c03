"""How many prompts a verdict needs for a change of a stated size, by simulation: python -m tools.pairs_needed

Worlds of pairs whose true change is known, judged by the verdict's own tests; the smallest of a row of sizes at which 80 of 100
comparisons find it, alone and as one of five metrics (Holm's method asks 1 % of the first). Of judges; shares and means of any
other metric are those of needed.py. Prints the table of docs/evaluation.md.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from t2i.evaluation.statistics.paired import difference
from t2i.evaluation.statistics.shares import Discordant, mcnemar
from t2i.evaluation.statistics.terms import Units, of_mean
from t2i.randomness import generator

SIZES = sorted({5 * round(10.0 * 1.05**step / 5.0) for step in range(118)})
"""Steps of 5 %, 10 to about 3,000."""
REPETITIONS, POWER = 2000, 0.8
LEVELS = (0.05, 0.01)
"""Of one metric alone, and of the first of five."""

Draw = Callable[[np.random.Generator, int], float]
"""Size of a set to the p of one comparison."""


@cache
def _p_of_counts(won: int, lost: int, pairs: int) -> float:
    return mcnemar(Discordant(won, lost, pairs))


def preferred(share: float, ties: float) -> Draw:
    """A judge that prefers the second picture on `share` of pairs, half of the `ties` counted; the sign test."""

    def draw(rng: np.random.Generator, count: int) -> float:
        won, lost, _ = rng.multinomial(count, [share - ties / 2.0, 1.0 - share - ties / 2.0, ties])
        return _p_of_counts(int(won), int(lost), count)

    return draw


def answered(before: float, after: float, kept: float) -> Draw:
    """P(yes) near 0 or 1, yes on the share `before` and then `after` of pictures; of `kept` pairs the answer is the same."""

    def draw(rng: np.random.Generator, count: int) -> float:
        gained = (1.0 - kept + after - before) / 2.0
        kinds = rng.choice(
            4, count, p=[gained, 1.0 - kept - gained, before - (1.0 - kept - gained), 1.0 - before - gained]
        )
        first, second = (np.isin(kinds, yes).astype(float) for yes in ((1, 2), (0, 2)))
        noise = rng.beta(1.0, 15.0, (2, count))
        first, second = (np.abs(own - part) for own, part in zip((first, second), noise, strict=True))
        return difference(of_mean(first, 0.0, 1.0), of_mean(second, 0.0, 1.0), Units()).p

    return draw


CASES: dict[str, Draw] = {
    "preferred on 55 % (`pickscore`, `hpsv2`)": preferred(0.55, 0.0),
    "preferred on 60 %": preferred(0.60, 0.0),
    "preferred on 60 %, a fifth of pairs tied": preferred(0.60, 0.2),
    "preferred on 65 %": preferred(0.65, 0.0),
    "preferred on 70 %": preferred(0.70, 0.0),
    "yes on 65 instead of 60 % of prompts, one answer in four another (`vqa_score`)": answered(0.60, 0.65, 0.75),
    "yes on 70 instead of 60 %, one in four": answered(0.60, 0.70, 0.75),
    "yes on 80 instead of 60 %, one in three": answered(0.60, 0.80, 0.67),
}


def needed(name: str, draw: Draw) -> Iterator[str]:
    """The smallest of SIZES with power at each level, by bisection."""
    known: dict[int, np.ndarray] = {}

    def power(count: int, level: float) -> float:
        if count not in known:
            rng = generator("pairs needed", name, count)
            known[count] = np.array([draw(rng, count) for _ in range(REPETITIONS)])
        return float((known[count] <= level).mean())

    for level in LEVELS:
        low, high = 0, len(SIZES)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if power(SIZES[middle], level) >= POWER else (middle + 1, high)
        yield f"{SIZES[low]:,}" if low < len(SIZES) else f"above {SIZES[-1]:,}"


def main() -> None:
    """The table, in Markdown."""
    print("| true change | prompts, one metric | one of five |\n|---|---|---|")
    for name, draw in CASES.items():
        print(f"| {name} | {' | '.join(needed(name, draw))} |", flush=True)


if __name__ == "__main__":
    main()
