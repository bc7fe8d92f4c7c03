"""What a finished sweep says: the best cell, which others cannot be told from it, the front, and what each setting does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from t2i.config import Config, as_override, spelt
from t2i.evaluation.statistics.intervals import LEVEL
from t2i.sweeps.config import Direction

if TYPE_CHECKING:
    from t2i.evaluation.statistics.paired import PairedDifference
    from t2i.sweeps.driver import Outcome

SCORES, TERMS = "scores", "terms"
CALLS = "evaluations_per_image"


@dataclass(frozen=True)
class Standing:
    """How the cells stand by one objective."""

    higher_is_better: bool
    best: "Outcome"
    tied: list[bool]
    """For each cell whether it cannot be told from the best one; the best one is."""
    tested: bool
    """Whether its change has a test: otherwise only equal cells are tied."""


@dataclass(frozen=True)
class Finding:
    """Every cell, the one to take, and what can be said about the others."""

    outcomes: "list[Outcome]"
    best: "Outcome"
    """The one to take: of one objective the best, of several the suggested one."""
    standings: dict[str, Standing]
    """By objective, the one that ranks first."""
    front: list[bool]
    """For each cell whether no other is better in one objective and as good in the others, where cells that are tied with the
    best in an objective are as good as it."""
    method: str
    """How ties were decided."""
    why: str
    """Of several objectives: what speaks for the suggested one, as the end of a sentence."""
    needed: Optional[int]
    """Of one objective: pictures a cell that would tell the best from the runner-up, if they differ as it looks."""

    @property
    def several(self) -> bool:
        """Whether there are several objectives."""
        return len(self.standings) > 1

    @property
    def tied(self) -> list[bool]:
        """Of one objective: which cells cannot be told from the best. Of several: which ones are on the front."""
        return self.front if self.several else next(iter(self.standings.values())).tied


def plain(numbers: dict[str, Any]) -> dict[str, float]:
    """The numbers among a cell's facts."""
    return {name: value for name, value in numbers.items() if isinstance(value, int | float)}


def shown(outcome: "Outcome") -> str:
    """A cell in words."""
    return ", ".join(as_override(key, value) for key, value in outcome.cell.items())


def find(config: Config, outcomes: "list[Outcome]") -> Finding:
    """At least one cell must have been measured to its end."""
    from t2i.evaluation.statistics.simultaneous import adjusted

    whole = [k for k, outcome in enumerate(outcomes) if outcome.numbers and not outcome.beaten]
    changes = {
        (metric, *pair): change
        for metric in config.sweeps.objectives
        for pair, change in _changes([outcomes[k] for k in whole], metric).items()
    }
    p = adjusted(changes)
    standings: dict[str, Standing] = {}
    for metric, direction in config.sweeps.objectives.items():
        sign = 1 if direction is Direction.maximize else -1
        values = [sign * float(outcomes[k].numbers[metric]) for k in whole]
        best = max(range(len(whole)), key=lambda k: values[k])
        alike = [
            values[k] == values[best] or p.get((metric, min(k, best), max(k, best)), 0.0) > 1.0 - LEVEL
            for k in range(len(whole))
        ]
        tied = [k in whole and alike[whole.index(k)] for k in range(len(outcomes))]
        tested = any(name[0] == metric for name in changes)
        standings[metric] = Standing(sign > 0, outcomes[whole[best]], tied, tested)
    front = _front(outcomes, whole, standings)
    first = next(iter(standings.values()))
    best_cell, why = _suggested(outcomes, front, standings) if len(standings) > 1 else (first.best, "")
    untested = [metric for metric, own in standings.items() if not own.tested]
    method = "the verdict's test of the same prompts and seeds, Holm's correction over all pairs of cells, 5 %"
    if untested:
        none = f"the change of {' and '.join(untested)} has no test"
        method = none if len(untested) == len(standings) else f"{method}; {none}"
    needed = None if len(standings) > 1 else _needed(config, [outcomes[k] for k in whole], changes)
    return Finding(outcomes, best_cell, standings, front, method, why, needed)


def _changes(whole: "Sequence[Outcome]", metric: str) -> "dict[tuple[int, int], PairedDifference]":
    """How every two cells of as many pictures differ in a metric that has a test, by their places."""
    from t2i.evaluation.statistics.simultaneous import pairwise
    from t2i.evaluation.statistics.terms import Units
    from t2i.evaluation.statistics.terms_file import restored

    kept = [restored(own[metric]) if metric in (own := o.numbers.get(TERMS, {})) else None for o in whole]
    units = next((own[1] for own in kept if own is not None), Units())
    return pairwise([own[0] if own else None for own in kept], units)


def _levels(outcome: "Outcome", k: int, standings: Mapping[str, Standing]) -> list[float]:
    """The value of cell k by each objective, higher is better; of those that are tied with the best, the best's."""
    return [
        (1 if own.higher_is_better else -1) * float((own.best if own.tied[k] else outcome).numbers[metric])
        for metric, own in standings.items()
    ]


def _front(outcomes: "Sequence[Outcome]", whole: Sequence[int], standings: Mapping[str, Standing]) -> list[bool]:
    levels = {k: _levels(outcomes[k], k, standings) for k in whole}

    def beaten(k: int) -> bool:
        own = levels[k]
        return any(all(t >= o for t, o in zip(other, own, strict=True)) and other != own for other in levels.values())

    return [k in levels and not beaten(k) for k in range(len(outcomes))]


def _suggested(
    outcomes: "Sequence[Outcome]", front: Sequence[bool], standings: Mapping[str, Standing]
) -> "tuple[Outcome, str]":
    """The cell of the front whose largest loss is the smallest, as a share of what the front spans in that objective (Zeleny
    1973, compromise programming); of several the one with the fewest network calls, then the best by the first objective.
    """
    chosen = [k for k, on_front in enumerate(front) if on_front]
    levels = np.array([_levels(outcomes[k], k, standings) for k in chosen], dtype=np.float64)
    span = np.ptp(levels, axis=0)
    losses = ((levels.max(axis=0) - levels) / np.where(span > 0, span, 1.0)).max(axis=1)
    least = [k for k, loss in zip(chosen, losses, strict=True) if loss <= losses.min() + 1e-9]
    names = " and ".join(standings)
    if losses.min() == 0:
        why = f"it cannot be told from the best by {names}"
    else:
        why = f"it gives away the least of {names}: at most {losses.min():.0%} of what the front spans"
    if len(least) == 1:
        return outcomes[least[0]], why
    calls = {k: float(outcomes[k].numbers.get(CALLS, math.inf)) for k in least}
    cheap = [k for k in least if calls[k] == min(calls.values())]
    metric, first = next(iter(standings.items()))
    sign = 1 if first.higher_is_better else -1
    best = max(cheap, key=lambda k: sign * float(outcomes[k].numbers[metric]))
    reason = "takes the fewest network calls" if len(cheap) < len(least) else ""
    if len(cheap) > 1:
        end = f"{'highest' if first.higher_is_better else 'lowest'} {metric}"
        reason = f"{reason}, and then has the {end}" if reason else f"has the {end}"
    return outcomes[best], f"{why}, and of the {len(least)} such cells it {reason}"


def _needed(config: Config, whole: "Sequence[Outcome]", changes: "Mapping[Any, PairedDifference]") -> Optional[int]:
    """A standard error falls with the root of N: what N shows in 80 of 100 cases has to fit into the difference."""
    metric, direction = next(iter(config.sweeps.objectives.items()))
    sign = 1 if direction is Direction.maximize else -1
    order = sorted(range(len(whole)), key=lambda k: -sign * float(whole[k].numbers[metric]))
    count = whole[order[0]].numbers.get("images", 0)
    pairs = [(metric, min(order[0], k), max(order[0], k)) for k in order[1:]]
    change = next((changes[pair] for pair in pairs if pair in changes), None)
    if change is None or not count:
        return None
    gap, seen = abs(change.difference.value), change.smallest_detectable(len(changes))
    return math.ceil(count * (seen / gap) ** 2) if gap > 0 and 0 < seen < math.inf else None


def effects(config: Config, outcomes: "Sequence[Outcome]") -> dict[str, dict[str, tuple[float, float, float]]]:
    """For each override and each of its values, the metric's mean over all cells with it, its lowest and its highest."""
    metric = next(iter(config.sweeps.objectives))
    whole = [outcome for outcome in outcomes if outcome.numbers and not outcome.beaten]
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for key in config.sweeps.space:
        values: dict[str, list[float]] = {}
        for outcome in whole:
            if key in outcome.cell:
                values.setdefault(spelt(outcome.cell[key]), []).append(outcome.numbers[metric])
        if 1 < len(values) <= 12:
            found[key] = {value: (float(np.mean(v)), min(v), max(v)) for value, v in values.items()}
    return found


def shares(config: Config, outcomes: "Sequence[Outcome]") -> dict[str, float]:
    """How much of the variance between the cells of a whole grid each override explains alone, and how much only
    together (two-way analysis of variance without repetition); empty for other searches.
    """
    space, metric = config.sweeps.space, next(iter(config.sweeps.objectives))
    if len(space) != 2 or not all(outcome.numbers and not outcome.beaten for outcome in outcomes):
        return {}
    sizes = [len(values) for values in space.values() if isinstance(values, list)]
    if len(sizes) < 2 or min(sizes) < 2 or math.prod(sizes) != len(outcomes):
        return {}
    table = np.array([outcome.numbers[metric] for outcome in outcomes], dtype=np.float64).reshape(sizes)
    total = ((table - table.mean()) ** 2).sum()
    if total == 0:
        return {}
    rows = sizes[1] * ((table.mean(axis=1) - table.mean()) ** 2).sum()
    columns = sizes[0] * ((table.mean(axis=0) - table.mean()) ** 2).sum()
    first, second = space
    return {
        first: float(rows / total),
        second: float(columns / total),
        f"{first} x {second}": float((total - rows - columns) / total),
    }
