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
    from t2i.evaluation.verdict import Row, Verdict


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
    """`verdict.json`: its rows, and how many samples and pairs they are of."""

    first: Stage
    second: Stage
    """The numbers whose change is told: `metrics`."""

    name = "comparison"
    version = 2

    def inputs(self) -> dict[str, Stage]:
        return {"first": self.first, "second": self.second}

    def hangs_on(self) -> Any:
        return {}

    def build(self, run: Run, folder: Path) -> None:
        from t2i.evaluation.verdict import decide

        found = decide(*(read_result(made(stage, run).path) for stage in (self.first, self.second)))
        rows = [_written(row) for row in found.rows]
        write_json(folder / "verdict.json", {"rows": rows, "samples": found.samples, "pairs": found.pairs})

    def read(self, run: Run) -> "Verdict":
        """The verdict. Raises UserError that names the fields in which the two definitions differ."""
        from t2i.evaluation.verdict import Verdict, refuse_unlike

        refuse_unlike(*(read_result(made(stage, run).path).definition for stage in (self.first, self.second)))
        found = json.loads((made(self, run).path / "verdict.json").read_text(encoding="utf-8"))
        return Verdict([_read(row) for row in found["rows"]], found["samples"], found["pairs"])


def _written(row: "Row") -> dict[str, Any]:
    """A row as JSON, which has no infinity: what is unbounded is null."""
    from dataclasses import asdict

    plain = asdict(row)
    change = {end: value if math.isfinite(value) else None for end, value in plain["change"].items()}
    seen = row.smallest_detectable
    return {**plain, "change": change, "smallest_detectable": seen if math.isfinite(seen) else None}


def _read(plain: dict[str, Any]) -> "Row":
    from t2i.evaluation.statistics.intervals import Interval
    from t2i.evaluation.verdict import Row

    unbounded = {"low": -math.inf, "high": math.inf}
    change = {end: unbounded[end] if value is None else value for end, value in plain["change"].items()}
    seen = plain["smallest_detectable"]
    return Row(**{**plain, "change": Interval(**change), "smallest_detectable": math.inf if seen is None else seen})
