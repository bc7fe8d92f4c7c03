"""What a finished sweep says: the best cell, which others cannot be told from it, the front, and what each setting does."""

import math
from collections.abc import Sequence
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


@dataclass(frozen=True)
class Finding:
    """Every cell, the best one, and what can be said about the others."""

    outcomes: "list[Outcome]"
    best: "Outcome"
    tied: list[bool]
    """For each cell whether it cannot be told from the best one; the best one is."""
    method: str
    """How that was decided."""
    needed: Optional[int]
    """Pictures a cell that would tell the best from the runner-up, if their difference is what it looks like."""
    front: list[bool]
    """For each cell whether no other is better in one objective and as good in the others."""


def plain(numbers: dict[str, Any]) -> dict[str, float]:
    """The numbers among a cell's facts."""
    return {name: value for name, value in numbers.items() if isinstance(value, int | float)}


def shown(outcome: "Outcome") -> str:
    """A cell in words."""
    return ", ".join(as_override(key, value) for key, value in outcome.cell.items())


def find(config: Config, outcomes: "list[Outcome]") -> Finding:
    """At least one cell must have been measured to its end."""
    metric, sign = config.sweeps.metric, 1 if config.sweeps.direction is Direction.maximize else -1
    whole = [outcome for outcome in outcomes if outcome.numbers and not outcome.beaten]
    best = max(whole, key=lambda outcome: sign * float(outcome.numbers[metric]))
    changes = _changes(whole, best)
    tied = _tied(changes)
    return Finding(
        outcomes,
        best,
        [outcome is best or id(outcome) in tied for outcome in outcomes],
        "the verdict's test of the same prompts and seeds, Holm's correction, 5 %"
        if changes
        else f"the change of {metric} has no test",
        _needed(config, whole, best, changes, sign),
        [outcome in whole and _undominated(config, outcome, whole) for outcome in outcomes],
    )


def _changes(whole: "Sequence[Outcome]", best: "Outcome") -> "dict[int, PairedDifference]":
    """How each other cell of as many pictures differs from the best one in the sweep's metric, by the cell's id."""
    from t2i.evaluation.statistics.paired import difference
    from t2i.evaluation.statistics.terms_file import restored

    if TERMS not in best.numbers:
        return {}
    own, units = restored(best.numbers[TERMS])
    found = {}
    for outcome in whole:
        if outcome is not best and TERMS in outcome.numbers:
            other, _ = restored(outcome.numbers[TERMS])
            if other.alike(own):
                found[id(outcome)] = difference(own, other, units)
    return found


def _tied(changes: "dict[int, PairedDifference]") -> set[int]:
    """Cells that do not differ for certain."""
    from t2i.evaluation.statistics.paired import holm

    if not changes:
        return set()
    adjusted = holm([change.p for change in changes.values()])
    return {key for key, p in zip(changes, adjusted, strict=True) if p > 1.0 - LEVEL}


def _needed(
    config: Config,
    whole: "Sequence[Outcome]",
    best: "Outcome",
    changes: "dict[int, PairedDifference]",
    sign: int,
) -> Optional[int]:
    """A standard error falls with the root of N: what N shows in 80 of 100 cases has to fit into the difference."""
    metric, count = config.sweeps.metric, best.numbers.get("images", 0)
    others = [outcome for outcome in whole if id(outcome) in changes]
    if not others or not count:
        return None
    second = max(others, key=lambda outcome: sign * float(outcome.numbers[metric]))
    change = changes[id(second)]
    gap, seen = abs(change.difference.value), change.smallest_detectable(len(changes))
    return math.ceil(count * (seen / gap) ** 2) if gap > 0 and 0 < seen < math.inf else None


def _undominated(config: Config, outcome: "Outcome", whole: "Sequence[Outcome]") -> bool:
    signs = {name: 1 if d is Direction.maximize else -1 for name, d in config.sweeps.objectives.items()}
    own = [sign * outcome.numbers[name] for name, sign in signs.items()]
    for other in whole:
        theirs = [sign * other.numbers[name] for name, sign in signs.items()]
        if all(t >= o for t, o in zip(theirs, own, strict=True)) and theirs != own:
            return False
    return True


def effects(config: Config, outcomes: "Sequence[Outcome]") -> dict[str, dict[str, tuple[float, float, float]]]:
    """For each override and each of its values, the metric's mean over all cells with it, its lowest and its highest."""
    metric = config.sweeps.metric
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
    space, metric = config.sweeps.space, config.sweeps.metric
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
