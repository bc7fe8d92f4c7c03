"""When should a training have stopped? Every metric over its checkpoints, each against the base and against the one before."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.config import Config
from t2i.context import Run
from t2i.errors import UserError
from t2i.stages.comparison import Comparison
from t2i.stages.metrics import Measured
from t2i.stages.milestones import Point, real_distances

if TYPE_CHECKING:
    from t2i.evaluation.curve import Curve
    from t2i.evaluation.statistics.terms import Terms
    from t2i.evaluation.verdict import Row, Verdict

RINGED = "Ring: the best by the first metric; hollow: cannot be told from it."


def told(config: Config, run: Run, points: Sequence[Point], alone: bool = False) -> dict[str, float]:
    """Measure every point, tell them together, and return `best_step`, `stop_step` where there is one, and for every step
    `<step>/<metric>` with its change from the base model.

    alone: whether the page is about nothing else. Raises UserError where no metric ranks the checkpoints.
    """
    from t2i.evaluation.curve import leading, ranked
    from t2i.evaluation.verdict import decide_pairs

    measured = [point.numbers.read(run) for point in points]
    against = Comparison(config, points[0].numbers, tuple(point.numbers for point in points[1:])).read(run)
    results = [own.result for own in measured]
    before = decide_pairs(list(pairwise(results)))
    metric = leading(results[0])
    if metric is None:
        raise UserError(
            "no measured metric ranks checkpoints: add clip_score, kid or fid to eval.metrics, which have a test of their change"
        )
    steps = [point.step for point in points]
    real = real_distances(config, run, points[-1])
    curve = ranked(steps, results, metric, real)
    if run.main:
        _record(run, points, measured)
        _section(run, curve, measured, against, before, real, alone)
    return _numbers(curve, points, measured, against)


def _record(run: Run, points: Sequence[Point], measured: Sequence[Measured]) -> None:
    """Each checkpoint's numbers at its step, as the tracker draws curves."""
    for point, own in zip(points, measured, strict=True):
        values = {key: value for key, value in own.result.metrics.items() if not key.endswith((".low", ".high"))}
        run.tracker.metrics({f"curve/{key}": value for key, value in values.items()}, point.step)


def _numbers(
    curve: "Curve", points: Sequence[Point], measured: Sequence[Measured], against: "Sequence[Verdict]"
) -> dict[str, float]:
    found = {"best_step": float(curve.steps[curve.best]), "checkpoints": float(len(points) - 1)}
    if curve.stop is not None and not curve.too_few:
        found["stop_step"] = float(curve.steps[curve.stop])
    for name, index in (("closer_step", curve.closer), ("closer_than_real_step", curve.closer_than_real)):
        if index is not None:
            found[name] = float(curve.steps[index])
    for point, own in zip(points, measured, strict=True):
        found |= {f"{point.step}/{key}": value for key, value in own.result.metrics.items() if ".world" not in key}
    for point, verdict in zip(points[1:], against, strict=True):
        found |= {f"{point.step}/{key}": value for key, value in verdict.numbers.items()}
    return found


def _section(
    run: Run,
    curve: "Curve",
    measured: Sequence[Measured],
    against: "Sequence[Verdict]",
    before: "Sequence[Verdict]",
    real: "Terms | None",
    alone: bool,
) -> None:
    from t2i.reporting.console import lines

    sentence = f"{curve.sentence[0].upper()}{curve.sentence[1:]}."
    samples = against[0].samples
    text = (
        f"{sentence} {len(curve.steps) - 1} checkpoints and the base model, {samples:,} pictures each, same captions and seeds. "
        f"P of this sentence is adjusted for the {curve.tests} tests of all pairs of them (Holm 1979), so that the choice of the "
        "best is paid for; each table says of how many its own are. The best one's value "
        "is flattered by the choice: other seeds (seed=...) tell it without."
    )
    if curve.last != curve.best:
        text += f" {_end(curve)}"
    if real is not None:
        text += f" {_memory(curve, measured, real)}"
    run.section(
        "When to stop",
        text,
        [_steps(curve, measured, against, before)],
        [_figure(run, curve, measured, against, real)],
        **({"question": "When should it have stopped?", "verdict": f"**{sentence}**"} if alone else {}),
    )
    table = _table(curve, measured, against, before)
    run.section("Every checkpoint", "", [table])
    run.say(f"    {curve.sentence}" if not alone else curve.sentence)
    for line in lines(table["columns"], table["rows"]):
        run.detail(line)


def _end(curve: "Curve") -> str:
    from t2i.reporting.numbers import number

    own = curve.end.difference
    change = number(own.value, own.low, own.high)
    best = f"at step {curve.steps[curve.best]:,}" if curve.best else "of the base model"
    label = f"{curve.label[0].upper()}{curve.label[1:]}"
    return f"{label} at step {curve.steps[-1]:,} minus that {best}: {change}, p {curve.end_adjusted:.2g}."


def _memory(curve: "Curve", measured: Sequence[Measured], real: "Terms") -> str:
    """The three distances that tell whether a training set is being learnt by heart."""
    from t2i.reporting.numbers import number

    key = _nearest(measured[0])
    ends = dict.fromkeys([curve.best, curve.last])
    shown = [
        f"{number(own[key], own.get(f'{key}.low'), own.get(f'{key}.high'))} "
        f"{f'at step {curve.steps[k]:,}' if k else 'by the base model'}"
        for k in ends
        if (own := measured[k].result.metrics)
    ]
    return (
        f"Distance to the nearest training picture: {', '.join(shown)}, {number(real.value)} of real held-out pictures."
    )


def _nearest(measured: Measured) -> str:
    """The number that tells it; empty where it was not measured."""
    from t2i.evaluation.curve import NEAREST

    return next((key for key in measured.result.terms if key.partition("[")[0] == NEAREST), "")


def _steps(
    curve: "Curve", measured: Sequence[Measured], against: "Sequence[Verdict]", before: "Sequence[Verdict]"
) -> dict[str, Any]:
    """One row a checkpoint: the metric that ranks, and how near the nearest training picture is."""
    nearest = [key for key in _metrics(curve, against) if key == _nearest(measured[0])]
    rows: list[list[Any]] = []
    for k, own in enumerate(measured):
        mark = "best" if k == curve.best else "tied" if k in curve.tied else ""
        changes = [_change(table, k, curve.metric) for table in (against, before)]
        rows.append(
            [_step(curve, k), mark, _value(own, curve.metric), *changes, *(_value(own, key) for key in nearest)]
        )
    return {
        "columns": ["step", "", curve.metric, "against the base", "against the one before", *nearest],
        "rows": rows,
        "caption": "Values and changes with 95 % intervals. Best, and tied with it: by p adjusted for all pairs of checkpoints; "
        f"p of changes is adjusted for the {against[0].tests} tests of every metric at every checkpoint.",
        "keys": 2,
    }


def _table(
    curve: "Curve", measured: Sequence[Measured], against: "Sequence[Verdict]", before: "Sequence[Verdict]"
) -> dict[str, Any]:
    """One row a metric and a step, the ranking metric first."""
    rows: list[list[Any]] = []
    for metric in _metrics(curve, against):
        for k, own in enumerate(measured):
            changes = [_change(table, k, metric) for table in (against, before)]
            rows.append([metric, _step(curve, k), _value(own, metric), *changes])
    return {
        "columns": ["metric", "step", "value", "against the base", "against the one before"],
        "rows": rows,
        "caption": f"Every metric with a test at every checkpoint; p adjusted for the {against[0].tests} tests of the column; a "
        "verdict needs it at 5 %.",
        "keys": 2,
    }


def _step(curve: "Curve", k: int) -> str:
    return f"{curve.steps[k]:,}" if k else "base"


def _value(own: Measured, metric: str) -> str:
    from t2i.reporting.numbers import number

    values = own.result.metrics
    return number(values[metric], values.get(f"{metric}.low"), values.get(f"{metric}.high"))


def _metrics(curve: "Curve", against: "Sequence[Verdict]") -> list[str]:
    """Those with a test, the one that ranks first."""
    keys = [row.metric for row in against[0].rows]
    return sorted(keys, key=lambda key: key != curve.metric)


def _row(table: "Sequence[Verdict]", k: int, metric: str) -> "Row | None":
    """Of checkpoint k, whose verdict stands one place before: the base model has none."""
    return next((row for row in table[k - 1].rows if row.metric == metric), None) if k else None


def _change(table: "Sequence[Verdict]", k: int, metric: str) -> str:
    from t2i.reporting.numbers import number

    row = _row(table, k, metric)
    if row is None:
        return ""
    return f"{row.verdict}\n{number(row.change.value, row.change.low, row.change.high)}\np {row.adjusted:.2g}"


def _figure(
    run: Run, curve: "Curve", measured: Sequence[Measured], against: "Sequence[Verdict]", real: "Terms | None"
) -> tuple[Path, str]:
    from t2i.evaluation.curve import NEAREST
    from t2i.evaluation.metrics.registry import higher_is_better
    from t2i.reporting.figures import metrics_over_steps
    from t2i.reporting.shown import Track

    tracks = []
    for metric in _metrics(curve, against):
        values = [own.result.metrics for own in measured]
        verdicts = [row.verdict if (row := _row(against, k, metric)) else "" for k in range(len(measured))]
        higher, leads = higher_is_better(metric), metric == curve.metric
        nearest = metric.partition("[")[0] == NEAREST
        ends = {True: "higher is better", False: "lower is better", None: ""}[higher]
        tracks.append(
            Track(
                metric,
                [own[metric] for own in values],
                [own.get(f"{metric}.low", own[metric]) for own in values],
                [own.get(f"{metric}.high", own[metric]) for own in values],
                verdicts,
                curve.best if leads else None,
                curve.tied if leads else (),
                real.value if nearest and real is not None else None,
                curve.closer if nearest else None,
                "dashed: real held-out pictures" if nearest and real is not None else ends,
            )
        )
    path = metrics_over_steps(
        list(curve.steps),
        tracks,
        run.figures() / "metrics_over_steps.png",
        curve.headline,
        f"Green: better than the base model, orange: worse, grey: cannot tell. {RINGED}",
        curve.stop if not curve.too_few else None,
    )
    marks = " Dotted: where to stop." * (curve.stop is not None and not curve.too_few)
    marks += " Shaded: closer to the training pictures than the best is." * (curve.closer is not None)
    return (
        path,
        f"Every metric at every checkpoint with its 95 % interval, {against[0].samples:,} pictures each. {RINGED}{marks}",
    )
