"""Better, worse, or cannot tell: every metric of two evaluations of the same captions and seeds, as one table.

A metric has changed when its p value, adjusted by Holm's method for the number of metrics in the table, is at most 5 %.
The interval of a change is of the same statistic as its p (`t2i/evaluation/statistics/paired.py`), so it then leaves zero out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2i.errors import UserError
from t2i.evaluation.definition import differences
from t2i.evaluation.evaluate import Result
from t2i.evaluation.metrics.registry import higher_is_better
from t2i.evaluation.statistics.intervals import LEVEL, Interval
from t2i.evaluation.statistics.paired import FEW as FEW_PAIRS
from t2i.evaluation.statistics.paired import PairedDifference, difference, fewest_pairs, holm

FEW = 1000
"""Pictures below which FID is mostly its own bias: KID and CMMD, which have none, come first."""

ROBUST = ("kid", "cmmd")

LABELS = {
    "fid": "FID",
    "kid": "KID",
    "inception_score": "Inception Score",
    "clip_score": "CLIP score",
    "ref_clip_score": "RefCLIPScore",
    "cmmd": "CMMD",
    "fd_dinov2": "FD-DINOv2",
    "vendi": "Vendi score",
    "memorisation_distance": "distance to training images",
}
"""Names in sentences; others are written as they are."""

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

    @property
    def label(self) -> str:
        """The metric's name in a sentence."""
        name = self.metric.split("[")[0]
        return LABELS.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class Verdict:
    """What a comparison found."""

    rows: list[Row]
    samples: int
    pairs: int
    """Independent pairs: captions of one picture are one."""

    @property
    def too_few(self) -> str:
        """Why no verdict can be had, with the number that would do; empty where one can."""
        needed = fewest_pairs(len(self.rows))
        if self.pairs >= needed:
            return ""
        metrics = f"{len(self.rows)} metrics" if len(self.rows) > 1 else "one metric"
        return f"too few for any verdict: a table of {metrics} needs {needed} pairs of pictures, and {self.pairs} are there"

    @property
    def answer(self) -> str:
        """`better`, `worse`, `mixed` or `cannot tell`."""
        found = {row.verdict for row in self.rows} & {BETTER, WORSE}
        return "mixed" if len(found) == 2 else found.pop() if found else UNCLEAR

    @property
    def sentence(self) -> str:
        """`better by KID and FID, worse by CLIP score at N = 100`."""
        found = [
            f"{verdict} by {_listed([row.label for row in self.rows if row.verdict == verdict])}"
            for verdict in (BETTER, WORSE)
            if any(row.verdict == verdict for row in self.rows)
        ]
        sentence = f"{', '.join(found) or UNCLEAR} at N = {self.samples:,}"
        return f"{sentence} ({self.too_few})" if self.too_few else sentence

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
        return {name: value for name, value in found.items() if math.isfinite(value)}


def changes_of(first: Result, second: Result) -> dict[str, PairedDifference]:
    """How every number that both results can test changed from `first` to `second`, by its name."""
    return {
        key: difference(own, second.terms[key], first.units) for key, own in first.terms.items() if key in second.terms
    }


def decide(first: Result, second: Result) -> Verdict:
    """How `second` differs from `first`, metric by metric.

    Raises UserError that names the fields in which the two definitions differ, and when no metric has a test.
    """
    refuse_unlike(first.definition, second.definition)
    found = changes_of(first, second)
    if not found:
        measured = ", ".join(key.partition("[")[0] for key in first.metrics if "." not in key)
        raise UserError(
            f"none of the measured metrics ({measured}) has a test of its change: add clip_score, kid or fid "
            "to eval.metrics and evaluate both again"
        )
    # What N is too small for (nearest neighbours below 40) is not in the table; it stands among the numbers without a test.
    found = {key: change for key, change in found.items() if change.test != FEW_PAIRS} or found
    owner = first.units.generated
    pairs = int(first.definition["generated_count"]) if owner is None else len(np.unique(owner))
    enough = pairs >= fewest_pairs(len(found))
    rows = []
    for (key, change), adjusted in zip(found.items(), holm([change.p for change in found.values()]), strict=True):
        rising = higher_is_better(key)
        rows.append(
            Row(
                key,
                first.metrics[key],
                second.metrics[key],
                change.difference,
                change.p,
                float(adjusted),
                change.smallest_detectable(len(found)),
                change.test,
                rising,
                _verdict(change.difference, float(adjusted), rising) if enough else UNCLEAR,
            )
        )
    samples = int(first.definition["generated_count"])
    if samples < FEW:
        rows.sort(key=lambda row: row.metric.split("[")[0] not in ROBUST)
    return Verdict(rows, samples, pairs)


def refuse_unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """UserError that names the fields in which two definitions differ, with both values of the first of them."""
    if fields := differences(first, second):
        both = " and ".join(_value(definition, fields[0]) for definition in (first, second))
        raise UserError(
            f"the two results are not comparable, they differ in {', '.join(fields)} ({fields[0]}: {both}): evaluate both "
            "alike"
        )


def _verdict(change: Interval, p: float, higher_is_better: bool | None) -> str:
    if p > 1.0 - LEVEL or change.low <= 0.0 <= change.high:
        return UNCLEAR
    rises = change.value > 0
    if higher_is_better is None:
        return LARGER if rises else SMALLER
    return BETTER if rises == higher_is_better else WORSE


def _value(definition: Mapping[str, Any], field: str) -> str:
    value: Any = definition
    for name in field.split("."):
        value = value.get(name, "absent") if isinstance(value, Mapping) else "absent"
    return str(value)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
