"""Better, worse, or cannot tell: every metric of two evaluations, or of several against the first, as one table.

A metric has changed when its p value, adjusted by Holm's method for the number of tests in all tables, is at most 5 %.
The interval of a change is of the same statistic as its p, so it then leaves zero out: of pairs where both have the same
captions and seeds (`statistics/paired.py`), otherwise of independent sets (`statistics/independent.py`). Of a judge that was
taught by choices (PickScore, HPSv2) it is told how often it prefers the second of a pair (`statistics/preferences.py`).
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from t2i.errors import UserError
from t2i.evaluation.definition import NUMBERS, differences
from t2i.evaluation.evaluate import Result
from t2i.evaluation.labels import LABELS
from t2i.evaluation.metrics.registry import higher_is_better, judge, metric_of
from t2i.evaluation.statistics import independent
from t2i.evaluation.statistics.independent import fewest_each
from t2i.evaluation.statistics.intervals import LEVEL, Interval
from t2i.evaluation.statistics.paired import FEW as FEW_PAIRS
from t2i.evaluation.statistics.paired import PairedDifference, difference, fewest_pairs, holm
from t2i.evaluation.statistics.preferences import Wins

FEW = 1000
"""Pictures below which FID is mostly its own bias: KID and CMMD, which have none, come first."""

ROBUST = ("kid", "cmmd")

BETTER, WORSE, LARGER, SMALLER, UNCLEAR = "better", "worse", "larger", "smaller", "cannot tell"


@dataclass(frozen=True)
class Row:
    """One metric of both models."""

    metric: str
    """`fid[tiny_clip]`."""
    first: float
    second: float
    change: Interval
    """second - first; where there is a reference, for the world that it is drawn from."""
    p: float
    adjusted: float
    """p by Holm's method over the table."""
    smallest_detectable: float
    """The change that this many pictures show in 80 of 100 cases, in a table of this size."""
    test: str
    """What p comes from."""
    higher_is_better: bool | None
    verdict: str
    """`better`, `worse` or `cannot tell`; `larger` or `smaller` where neither is better."""
    of: int = 0
    """How many pairs it is of, where they are others than the pictures: prompts of a suite, held-out pictures."""
    wins: Wins | None = None
    """Of a judge taught by choices: how often it prefers the second. `p`, `smallest_detectable` and `verdict` are of it, `change`
    is that of the mean score."""

    @property
    def effect(self) -> Interval:
        """What `p` is of: the change, or the share that is preferred less one half."""
        if self.wins is None:
            return self.change
        own = self.wins.share
        return Interval(own.value - 0.5, own.low - 0.5, own.high - 0.5)

    @property
    def preferred(self) -> str:
        """`preferred on 61 % of 200 prompts [54, 67] by PickScore, 3 ties`; empty for another metric."""
        return "" if self.wins is None else f"{self.wins.words} by {self.label}{self.wins.ties}"

    @property
    def label(self) -> str:
        """The metric's name in a sentence."""
        name = self.metric.split("[")[0]
        return LABELS.get(name, name.replace("_", " ")) + (f" (of {self.of:,})" if self.of else "")


@dataclass(frozen=True)
class Verdict:
    """What a comparison found."""

    rows: list[Row]
    samples: int
    pairs: int
    """Independent pairs: captions of one picture are one. Of independent sets, pictures of each."""
    paired: bool = True
    """Whether both sets have the same captions and seeds."""
    tests: int = 0
    """Of how many tests this table is a part; 0: it stands alone."""

    @property
    def too_few(self) -> str:
        """Why no verdict can be had, with the number that would do; empty where one can."""
        tests = self.tests or len(self.rows)
        needed = fewest_pairs(tests) if self.paired else fewest_each(tests)
        if max([self.pairs, *(row.of for row in self.rows)]) >= needed:
            return ""
        metrics = f"{tests} metrics" if tests > 1 else "one metric"
        what = "pairs of pictures" if self.paired else "pictures of each"
        return f"too few for any verdict: a table of {metrics} needs {needed} {what}, and {self.pairs} are there"

    @property
    def answer(self) -> str:
        """`better`, `worse`, `mixed` or `cannot tell`."""
        found = {row.verdict for row in self.rows} & {BETTER, WORSE}
        return "mixed" if len(found) == 2 else found.pop() if found else UNCLEAR

    @property
    def sentence(self) -> str:
        """`better by KID and FID, worse by CLIP score at N = 100`; of judges taught by choices how often they prefer it."""
        return self.told()

    def told(self, name: str = "") -> str:
        """The same with the name of the second set before what is preferred: `tuned preferred on 61 % of 200 prompts [54, 67] by
        PickScore`."""
        rest = [row for row in self.rows if row.wins is None]
        found = [
            f"{verdict} by {_listed([row.label for row in rest if row.verdict == verdict])}"
            for verdict in (BETTER, WORSE)
            if any(row.verdict == verdict for row in rest)
        ]
        parts = [f"{name} {row.preferred}{_unclear(row)}".strip() for row in self.rows if row.wins is not None]
        if rest or not parts:
            parts.append(f"{', '.join(found) or UNCLEAR} at N = {self.samples:,}")
        sentence = "; ".join(parts)
        return f"{sentence} ({self.too_few})" if self.too_few and not found else sentence

    @property
    def disagreement(self) -> str:
        """Where judges of different kinds do not say the same, what each says; empty where they do, or where there is one."""
        judged = [row for row in self.rows if judge(row.metric)]
        if len({judge(row.metric) for row in judged}) < 2 or len({row.verdict for row in judged}) < 2:
            return ""
        said = [
            f"{'cannot tell' if verdict == UNCLEAR else verdict} by {_listed([r.label for r in judged if r.verdict == verdict])}"
            for verdict in dict.fromkeys(row.verdict for row in judged)
        ]
        return f"The judges do not agree: {'; '.join(said)}"

    @property
    def numbers(self) -> dict[str, float]:
        """Of every metric the change with its interval, p, and what could have been seen; for metrics.json."""
        found: dict[str, float] = {}
        for row in self.rows:
            found[f"{row.metric}.difference"] = row.change.value
            found[f"{row.metric}.difference.low"] = row.change.low
            found[f"{row.metric}.difference.high"] = row.change.high
            found[f"{row.metric}.p"], found[f"{row.metric}.p_holm"] = row.p, row.adjusted
            found[f"{row.metric}.smallest_detectable"] = row.smallest_detectable
            if row.wins is not None:
                share = row.wins.share
                found |= {f"{row.metric}.preferred": share.value, f"{row.metric}.preferred.low": share.low}
                found |= {f"{row.metric}.preferred.high": share.high, f"{row.metric}.ties": float(row.wins.tied)}
        return {name: value for name, value in found.items() if math.isfinite(value)}


def changes_of(first: Result, second: Result, paired: bool = True) -> dict[str, PairedDifference]:
    """How every number that both results can test changed from `first` to `second`, by its name."""
    both = {
        key: (own, second.terms[key])
        for key, own in first.terms.items()
        if key in second.terms and _own(first, key) == _own(second, key)
    }
    if paired:
        return {key: difference(*terms, first.units) for key, terms in both.items()}
    return {key: independent.difference(*terms, (first.units, second.units)) for key, terms in both.items()}


def _own(result: Result, key: str) -> Any:
    """What defines the metric of a number beside the definition of all: a loss under another schedule is another number."""
    return result.definition.get(NUMBERS, {}).get(metric_of(key))


def decide(first: Result, second: Result, paired: bool = True) -> Verdict:
    """How `second` differs from `first`, metric by metric.

    Raises UserError that names the fields in which the two definitions differ, and when no metric has a test.
    """
    return decide_all(first, [second], paired)[0]


def decide_all(first: Result, others: Sequence[Result], paired: bool = True) -> list[Verdict]:
    """How each of `others` differs from `first`, Holm's method over all metrics of all of them; raises as `decide`."""
    return decide_pairs([(first, other) for other in others], paired)


def decide_pairs(pairs: Sequence[tuple[Result, Result]], paired: bool = True) -> list[Verdict]:
    """How the second of each pair differs from the first, Holm's method over all metrics of all of them; raises as
    `decide`.
    """
    found = []
    for first, second in pairs:
        refuse_unlike(first.definition, second.definition, paired)
        own = changes_of(first, second, paired)
        # What N is too small for (nearest neighbours below 40) is not in the table; it stands among the numbers without a test.
        found.append({key: change for key, change in own.items() if change.test != FEW_PAIRS} or own)
    if not all(found):
        measured = ", ".join(dict.fromkeys(key.partition("[")[0] for key in pairs[0][0].metrics if "." not in key))
        raise UserError(
            f"none of the measured metrics ({measured}) has a test of its change: add clip_score, kid or fid "
            "to eval.metrics and evaluate both again"
        )
    tests = sum(map(len, found))
    adjusted = iter(holm([change.p for changes in found for change in changes.values()]).tolist())
    return [_told(*pair, changes, adjusted, tests, paired) for pair, changes in zip(pairs, found, strict=True)]


def _told(
    first: Result,
    second: Result,
    changes: Mapping[str, PairedDifference],
    adjusted: Iterator[float],
    tests: int,
    paired: bool,
) -> Verdict:
    """The table of one comparison; `adjusted`: p values that are taken from in the order of `changes`."""
    samples = int(first.definition["generated_count"])
    owners = [result.units.generated for result in ((first,) if paired else (first, second))]
    pairs = min(samples if owner is None else len(np.unique(owner)) for owner in owners)
    needed = fewest_pairs(tests) if paired else fewest_each(tests)
    rows = []
    for key, change in changes.items():
        rising, own = higher_is_better(key), next(adjusted)
        of = change.pairs if first.terms[key].alone else 0
        rows.append(
            Row(
                key,
                first.metrics[key],
                second.metrics[key],
                change.difference,
                change.p,
                own,
                change.smallest_detectable(tests),
                change.test,
                rising,
                UNCLEAR,
                of,
                change.wins,
            )
        )
        if (of or pairs) >= needed:
            rows[-1] = replace(rows[-1], verdict=_verdict(rows[-1].effect, own, rising))
    if samples < FEW:
        rows.sort(key=lambda row: row.metric.split("[")[0] not in ROBUST)
    return Verdict(rows, samples, pairs, paired, tests)


OF_PAIRS = ("prompts_sha256", "classes_sha256")
"""Fields of a definition in which independent sets may differ: which picture is of which caption."""


def refuse_unlike(first: Mapping[str, Any], second: Mapping[str, Any], paired: bool = True) -> None:
    """UserError that names the fields in which two definitions differ, with both values of the first of them."""
    shared = ({name: value for name, value in own.items() if name != NUMBERS} for own in (first, second))
    if fields := [name for name in differences(*shared) if paired or name not in OF_PAIRS]:
        both = " and ".join(_value(definition, fields[0]) for definition in (first, second))
        raise UserError(
            f"the two results are not comparable, they differ in {', '.join(fields)} ({fields[0]}: {both}): evaluate both "
            f"alike{_of_one_size(first, second) if fields == ['image_format'] else ''}"
        )


def _of_one_size(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """What brings pictures of two sizes to one: the smallest side of either."""
    sides = [int(side) for own in (first, second) for side in re.findall(r"\d+(?=x)|(?<=x)\d+", own["image_format"])]
    return f", e.g. with eval.resolution={min(sides, default=256)}"


def _verdict(change: Interval, p: float, higher_is_better: bool | None) -> str:
    if p > 1.0 - LEVEL or change.low <= 0.0 <= change.high:
        return UNCLEAR
    rises = change.value > 0
    if higher_is_better is None:
        return LARGER if rises else SMALLER
    return BETTER if rises == higher_is_better else WORSE


def _unclear(row: Row) -> str:
    return " (cannot tell)" if row.verdict == UNCLEAR else ""


def _value(definition: Mapping[str, Any], field: str) -> str:
    value: Any = definition
    for name in field.split("."):
        value = value.get(name, "absent") if isinstance(value, Mapping) else "absent"
    return str(value)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
