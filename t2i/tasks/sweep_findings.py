"""What a finished sweep says: the best cell, which others cannot be told from it, the front, and what each setting does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from t2i.config import Config, as_override, spelt
from t2i.sweeps.config import Direction

if TYPE_CHECKING:
    from t2i.sweeps.driver import Outcome

SCORES = "scores"


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
    paired = metric.startswith("clip_score[") and SCORES in best.numbers
    decide = _paired if paired else _overlapping
    tied = decide(config, whole, best)
    places = {id(outcome): number for number, outcome in enumerate(whole)}
    return Finding(
        outcomes,
        best,
        [id(outcome) in places and tied[places[id(outcome)]] for outcome in outcomes],
        "sign tests of the same prompts and seeds, Holm's correction, 5 %" if paired else "overlapping 95 % intervals",
        _needed(config, whole, best, paired, sign),
        [outcome in whole and _undominated(config, outcome, whole) for outcome in outcomes],
    )


def _paired(config: Config, whole: "Sequence[Outcome]", best: "Outcome") -> list[bool]:
    """Cells whose scores do not differ from the best cell's, prompt by prompt."""
    from t2i.evaluation.paired import holm, paired_difference

    others = [outcome for outcome in whole if outcome is not best]
    p = [
        paired_difference(np.array(best.numbers[SCORES]), np.array(outcome.numbers[SCORES]), config.eval.seed, 200).p
        for outcome in others
    ]
    adjusted = dict(zip(map(id, others), holm(p) if p else [], strict=True))
    return [outcome is best or adjusted[id(outcome)] >= 0.05 for outcome in whole]


def _overlapping(config: Config, whole: "Sequence[Outcome]", best: "Outcome") -> list[bool]:
    """Cells whose interval reaches into the best one's."""
    metric, up = config.sweeps.metric, config.sweeps.direction is Direction.maximize
    near, far = (".low", ".high") if up else (".high", ".low")
    edge = best.numbers.get(metric + near, best.numbers[metric])
    reach = [outcome.numbers.get(metric + far, outcome.numbers[metric]) for outcome in whole]
    return [
        outcome is best or (value >= edge if up else value <= edge) for outcome, value in zip(whole, reach, strict=True)
    ]


def _needed(config: Config, whole: "Sequence[Outcome]", best: "Outcome", paired: bool, sign: int) -> Optional[int]:
    """A standard error falls with the root of N: 2.8 of them (5 % error, 80 % power) have to fit into the difference."""
    metric, count = config.sweeps.metric, best.numbers.get("images", 0)
    others = [outcome for outcome in whole if outcome is not best]
    if not others or not count:
        return None
    second = max(others, key=lambda outcome: sign * float(outcome.numbers[metric]))
    gap = abs(best.numbers[metric] - second.numbers[metric])
    if paired:
        change = np.array(best.numbers[SCORES]) - np.array(second.numbers[SCORES])
        error = float(change.std(ddof=1)) / math.sqrt(len(change))
    elif f"{metric}.low" in best.numbers:
        halves = [(o.numbers[f"{metric}.high"] - o.numbers[f"{metric}.low"]) / 2 for o in (best, second)]
        error = math.hypot(*halves) / 1.96
    else:
        return None
    return math.ceil(count * (2.8 * error / gap) ** 2) if gap > 0 and error > 0 else None


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
