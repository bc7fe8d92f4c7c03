"""Several models or folders against the first: the answer for each, what it cost, and which cannot be told from the best."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config
from t2i.context import Run
from t2i.data.given.pairs import Together
from t2i.stages.generated import cost_of
from t2i.stages.given import Judged
from t2i.stages.metrics import Measured
from t2i.stages.moved import Moved
from t2i.stages.sides import Side, apart
from t2i.store import write_json
from t2i.stories import given, verdict

if TYPE_CHECKING:
    from t2i.evaluation.verdict import Verdict

VERDICTS = "verdicts.json"
"""In a run folder: the verdicts as plain values, for who reads them from Python."""


def tell(
    config: Config, run: Run, sides: Sequence[Side], verdicts: "Sequence[Verdict]", found: Optional[Together]
) -> None:
    """The summary where there are several, and a section for each. found: of folders, how they belong together."""
    first, *others = sides
    write_json(run.folder / VERDICTS, [_plain(own, side.name) for own, side in zip(verdicts, others, strict=True)])
    several = len(others) > 1
    if several:
        _summary(config, run, sides, verdicts, found)
    for own, side in zip(verdicts, others, strict=True):
        mark = f"_{side.name}" if several else ""
        names = (first.name, side.name)
        if isinstance(first.shown, Judged) and isinstance(side.shown, Judged):
            assert found is not None
            lie = {}
            if first.shown.result.definition["reference_sha256"] == "none":
                lie = apart(config, run, first.shown.given, side.shown.given)
            given.tell_verdict(config, run, own, (first.shown, side.shown), names, found, lie, mark)
        elif isinstance(first.shown, Measured) and isinstance(side.shown, Measured):
            title = f"{side.name} against {first.name}" if several else "Comparison"
            verdict.tell(config, run, own, first.shown, side.shown, names, title, mark)


def _plain(own: "Verdict", name: str) -> dict[str, Any]:
    rows = [asdict(row) for row in own.rows]
    return {
        "name": name,
        "answer": own.answer,
        "sentence": own.told(name),
        "paired": own.paired,
        "samples": own.samples,
        "rows": rows,
    }


def _summary(
    config: Config, run: Run, sides: Sequence[Side], verdicts: "Sequence[Verdict]", found: Optional[Together]
) -> None:
    """The table of all, the figure of gain and cost, and the sentence about the best."""
    from t2i.reporting.numbers import number

    first, *others = sides
    metric = verdicts[0].rows[0].metric
    rows = []
    for own, side in zip(verdicts, others, strict=True):
        row = next(row for row in own.rows if row.metric == metric)
        change = number(row.change.value, row.change.low, row.change.high)
        rows.append([side.name, own.answer, own.told(side.name), change])
    best, alike = _best(sides, verdicts, metric, found is None or found.paired)
    text = (
        f"{len(others)} sets against {first.name}, {verdicts[0].tests} tests in all, adjusted together (Holm 1979). "
        f"{_leads(verdicts[0].rows[0].label, best, alike)}."
    )
    table = {
        "columns": [f"against {first.name}", "answer", "verdict", f"change of {metric}"],
        "rows": rows,
        "caption": "Changes with 95 % intervals; a verdict needs p, adjusted for all tests of all rows, at 5 %.",
    }
    told = (
        f"**{_leads(verdicts[0].rows[0].label, best, alike)}.** "
        + "; ".join(f"{row[0]}: {row[2]}" for row in rows)
        + "."
    )
    figures = _figure(config, run, sides, verdicts, metric, found)
    run.section("All against the first", text, [table], figures, verdict=told, question="Which is the best?")
    run.say(text)


def _leads(label: str, best: str, alike: Sequence[str]) -> str:
    if alike:
        return f"By {label} {best} leads, and cannot be told from {_listed(alike)}"
    return f"By {label} {best} is the best, apart from every other one"


def _best(sides: Sequence[Side], verdicts: "Sequence[Verdict]", metric: str, paired: bool) -> tuple[str, list[str]]:
    """Which of all, the first too, is the best by a metric, and which cannot be told from it: their change against it has a p
    above 5 %, adjusted for all pairs, as the best was chosen by looking at all of them."""
    from itertools import combinations

    from t2i.evaluation.metrics.registry import higher_is_better
    from t2i.evaluation.statistics.intervals import LEVEL
    from t2i.evaluation.statistics.simultaneous import adjusted
    from t2i.evaluation.verdict import changes_of

    sign = -1.0 if higher_is_better(metric) is False else 1.0
    results = [side.shown.result for side in sides]
    best = max(range(len(sides)), key=lambda k: sign * results[k].metrics[metric])
    pairs = combinations(range(len(sides)), 2)
    p = adjusted({(i, j): changes_of(results[i], results[j], paired)[metric] for i, j in pairs})
    apart = {k for pair, own in p.items() if best in pair and own <= 1.0 - LEVEL for k in pair}
    return sides[best].name, [side.name for k, side in enumerate(sides) if k != best and k not in apart]


def _figure(
    config: Config,
    run: Run,
    sides: Sequence[Side],
    verdicts: "Sequence[Verdict]",
    metric: str,
    found: Optional[Together],
) -> list[tuple[Any, str]]:
    """Gain against what it cost: how far pictures moved, and seconds a picture; none where neither is known."""
    from t2i.evaluation.metrics.registry import higher_is_better
    from t2i.reporting.figures import gains
    from t2i.reporting.shown import Gain

    first, *others = sides
    costs: dict[str, list[float]] = {}
    if found is None or found.paired:
        costs[f"distance from the pictures of {first.name}"] = [
            Moved(config, first.shown, side.shown).read(run) for side in others
        ]
    seconds = [
        cost_of(side.shown.folder).get("seconds_per_image") for side in others if isinstance(side.shown, Measured)
    ]
    if seconds and all(own is not None for own in seconds):
        costs["seconds a picture"] = [own for own in seconds if own is not None]
    if not costs:
        return []
    sign = -1.0 if higher_is_better(metric) is False else 1.0
    rows = []
    for own, side in zip(verdicts, others, strict=True):
        row = next(row for row in own.rows if row.metric == metric)
        low, high = sorted((sign * row.change.low, sign * row.change.high))
        rows.append(Gain(side.name, sign * row.change.value, low, high, row.verdict))
    label = verdicts[0].rows[0].label
    path = gains(
        rows,
        costs,
        run.figures() / "gains.png",
        f"Gain in {label} against {first.name}, and what it cost",
        f"gain in {label}",
        "Bars: 95 % intervals. Bold and joined: no other gains as much for as little.",
    )
    return [
        (
            path,
            f"Above zero: better than {first.name} by {metric}. Distance: mean of 1 - cosine of features, pair by pair.",
        )
    ]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
