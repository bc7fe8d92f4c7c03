"""`comparison`: the verdict about two sets of numbers, every change with its interval and p."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.context import Run
from t2i.stages.metrics import read_result
from t2i.stages.stage import Stage, made
from t2i.store import Stage as Finished
from t2i.store import write_json

if TYPE_CHECKING:
    from t2i.evaluation.evaluate import Result
    from t2i.evaluation.verdict import Row, Verdict


ORDINALS = ("second", *(f"{number}th" for number in range(3, 1000)))
"""Names of the inputs behind the first."""


@dataclass(frozen=True, eq=False)
class Elsewhere(Stage):
    """Numbers that a finished run left, maybe in a store of its own."""

    path: Path

    name = "metrics"

    def hangs_on(self) -> Any:
        return self.path.name

    def at(self, run: Run) -> Finished:
        return Finished(self.name, self.path.name, self.path, reused=True)


@dataclass(frozen=True, eq=False)
class Comparison(Stage):
    """`verdict.json`: its rows, and how many samples and pairs they are of; of several against the first, a list of those."""

    first: Stage
    others: tuple[Stage, ...]
    """The numbers whose change is told: `metrics`."""
    paired: bool = True
    """Whether all are of the same captions and seeds."""

    name = "comparison"
    version = 2

    def inputs(self) -> dict[str, Stage]:
        return {"first": self.first, **{ORDINALS[k]: other for k, other in enumerate(self.others)}}

    def hangs_on(self) -> Any:
        return {} if self.paired else {"paired": False}

    def results(self, run: Run) -> "list[Result]":
        """The numbers that are compared."""
        return [read_result(made(stage, run).path) for stage in (self.first, *self.others)]

    def build(self, run: Run, folder: Path) -> None:
        from t2i.evaluation.verdict import decide_all

        first, *others = self.results(run)
        found = [
            {
                "rows": [_written(row) for row in own.rows],
                "samples": own.samples,
                "pairs": own.pairs,
                "paired": own.paired,
                "tests": own.tests,
            }
            for own in decide_all(first, others, self.paired)
        ]
        write_json(folder / "verdict.json", found[0] if len(found) == 1 else found)

    def read(self, run: Run) -> "list[Verdict]":
        """A verdict for each of `others`. Raises UserError that names the fields in which two definitions differ."""
        from t2i.evaluation.verdict import Verdict, refuse_unlike

        first, *others = self.results(run)
        for other in others:
            refuse_unlike(first.definition, other.definition, self.paired)
        found = json.loads((made(self, run).path / "verdict.json").read_text(encoding="utf-8"))
        return [
            Verdict(
                [_read(row) for row in own["rows"]],
                own["samples"],
                own["pairs"],
                own.get("paired", True),
                own.get("tests", 0),
            )
            for own in (found if isinstance(found, list) else [found])
        ]


def _written(row: "Row") -> dict[str, Any]:
    """A row as JSON, which has no infinity: what is unbounded is null."""
    from dataclasses import asdict

    plain = asdict(row)
    change = {end: value if math.isfinite(value) else None for end, value in plain["change"].items()}
    seen = row.smallest_detectable
    if row.wins is None:  # as rows were before there were judges
        del plain["wins"]
    return {**plain, "change": change, "smallest_detectable": seen if math.isfinite(seen) else None}


def _read(plain: dict[str, Any]) -> "Row":
    from t2i.evaluation.statistics.intervals import Interval
    from t2i.evaluation.statistics.preferences import Wins
    from t2i.evaluation.verdict import Row

    unbounded = {"low": -math.inf, "high": math.inf}
    change = {end: unbounded[end] if value is None else value for end, value in plain["change"].items()}
    seen = plain["smallest_detectable"]
    wins = plain.get("wins")
    told = {} if wins is None else {"wins": Wins(**{**wins, "share": Interval(**wins["share"])})}
    known = {"change": Interval(**change), "smallest_detectable": math.inf if seen is None else seen}
    return Row(**{**plain, **known, **told})
