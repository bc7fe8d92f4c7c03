"""What task=pipeline and task=compare say about two evaluated models: one table, one sentence, the worst losses shown."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from t2i.config import Config
from t2i.context import Run
from t2i.stages.captions import rows_of
from t2i.stages.metrics import Measured
from t2i.stories.composition import skills_table
from t2i.stories.evaluation import metrics_table
from t2i.stories.subject import answer, listed, subject_table

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.prepared import Prepared
    from t2i.evaluation.evaluate import Result
    from t2i.evaluation.verdict import Row, Verdict

SHOWN = 12
FEW_NOTE = (
    "With fewer than 1,000 pictures FID is mostly its own bias (about 1/N), which only equal N cancels: KID and CMMD, which "
    "have none, come first."
)


_PREFERRED = (
    " Preferred: the share of pairs in which the judge gives the second picture the higher score, half of each tie (scores equal "
    "to six digits), with its 95 % interval; p is of it, by the sign test."
)


class Told(Protocol):
    """What has numbers."""

    @property
    def result(self) -> "Result":
        """They."""
        ...


def tell(
    config: Config,
    run: Run,
    verdict: "Verdict",
    first: Measured,
    second: Measured,
    names: tuple[str, str],
    title: str,
    mark: str = "",
    cost: str = "",
) -> None:
    """The section of the report: table, changes beside what could be seen, and pictures sorted by their loss.

    mark: of several comparisons in one report, the end of this one's names of figures; the summary has the answer then.
    cost: a sentence beside the answer.
    """
    from t2i.data.prepared import Prepared
    from t2i.reporting.console import lines

    sentence = verdict.told(names[1])
    definition = first.result.definition
    text = (
        f"{sentence[0].upper()}{sentence[1:]}. {verdict.samples:,} pictures a model, same captions and seeds; "
        f"{definition['reference_count']:,} pictures as reference."
    )
    if verdict.samples < 1000 and any(row.metric.startswith("fid[") for row in verdict.rows):
        text += f" {FEW_NOTE}"
    if verdict.disagreement:
        text += f" {verdict.disagreement}."
    tables = [verdict_table(verdict, first, second, names)]
    measured = {name: own.result.metrics for name, own in zip(names, (first, second), strict=True)}
    if (skills := skills_table(measured, verdict)) is not None:
        tables.append(skills)
    if (shown := subject_table(measured, verdict)) is not None:
        tables.append(shown)
        text = f"{answer(measured, verdict)} {text}" if mark else text  # the top of the page has it
        cost = f"{cost}\n\n{listed(measured, verdict)}"
    untested = untested_table(verdict, first, second, names)
    run.section(
        title,
        text,
        [*tables, *([untested] if untested["rows"] else [])],
        [
            *changes_figure(run, verdict, mark),
            *_pictures(config, run, first, second, names, Prepared(first.data), mark),
        ],
        **answer_of(verdict, names, mark, cost),
        facts={"Model": config.model.name, "Data": config.dataset.name, "Strategy": config.strategy.kind}
        if names == ("base", "tuned")
        else {},
    )
    run.detail(text)
    for table in tables:
        for line in lines(table["columns"], table["rows"]):
            run.detail(line)


def answer_of(verdict: "Verdict", names: tuple[str, str], mark: str, cost: str = "") -> dict[str, str]:
    """The answer at the top of the page; nothing where a summary has it."""
    if mark:
        return {}
    answer = f"{verdict.answer[0].upper()}{verdict.answer[1:]}"
    told = f"**{answer}.** {names[1][0].upper()}{names[1][1:]} against {names[0]}: {verdict.told(names[1])}."
    disagree = f"{verdict.disagreement}." if verdict.disagreement else ""
    return {"verdict": " ".join(part for part in (told, disagree, cost) if part).replace(" \n", "\n")}


def verdict_table(verdict: "Verdict", first: Told, second: Told, names: tuple[str, str]) -> dict[str, Any]:
    """Every tested metric: the verdict, both values, and the change with p and what could have been seen below it."""
    from t2i.reporting.numbers import number

    def value(measured: Told, metric: str) -> str:
        metrics = measured.result.metrics
        return number(metrics[metric], metrics.get(f"{metric}.low"), metrics.get(f"{metric}.high"))

    rows = [
        [
            row.metric,
            row.verdict,
            value(first, row.metric),
            value(second, row.metric),
            _change(row),
        ]
        for row in verdict.rows
    ]
    return {
        "columns": ["metric", "verdict", *names, "change"],
        "rows": rows,
        "caption": "Values and changes with 95 % intervals: values for this reference, changes for the world that the reference "
        "is drawn from. p: of a change as large if the metric had not "
        f"changed, in brackets adjusted for the {_tests(verdict)} (Holm 1979); a verdict needs the adjusted one "
        f"at 5 %. Seen from: the smallest change that {verdict.samples:,} pictures show in 80 of 100 cases; 'cannot tell' means "
        "smaller than about that, not none. The bracket of a metric names its network."
        + (_PREFERRED if any(row.wins is not None for row in verdict.rows) else ""),
    }


def _change(row: "Row") -> str:
    """The change with its interval, p, and what could have been seen; how often a judge taught by choices prefers it, first."""
    from t2i.reporting.numbers import number

    change = number(row.change.value, row.change.low, row.change.high)
    p = f"p {row.p:.2g} ({row.adjusted:.2g})"
    if row.wins is None:
        return f"{change}\n{p}\nseen from {number(row.smallest_detectable)}"
    counts = f"{row.wins.won:,} won, {row.wins.lost:,} lost, {row.wins.tied:,} tied"
    seen = f"seen from {50 + 100 * min(row.smallest_detectable, 0.5):.0f} %"
    return f"{row.wins.words}\n{counts}\nmean {change}\n{p}\n{seen}"


def _tests(verdict: "Verdict") -> str:
    if verdict.tests > len(verdict.rows):
        return f"{verdict.tests} tests of all tables"
    return f"{len(verdict.rows)} metrics of the table"


def untested_table(verdict: "Verdict", first: Told, second: Told, names: tuple[str, str]) -> dict[str, Any]:
    """The metrics that have an interval and no test of their change."""
    tested = {row.metric for row in verdict.rows}
    columns = {
        name: {key: value for key, value in measured.result.metrics.items() if _metric(key) not in tested}
        for name, measured in zip(names, (first, second), strict=True)
    }
    return {**metrics_table(columns), "caption": "Metrics without a test of their change."}


def largest_losses(first: Measured, second: Measured) -> "tuple[list[int], np.ndarray]":
    """The captions in the order of the change of their CLIP score, the largest loss first, and that change (N,).

    In their own order, and no changes, where the CLIP score was not measured.
    """
    import numpy as np

    scores = f"clip_score[{first.result.definition['clip']}]"
    if scores not in first.result.per_sample:
        return list(range(len(first.captions))), np.empty(0)
    change = second.result.per_sample[scores] - first.result.per_sample[scores]
    return [int(row) for row in np.argsort(change, kind="stable")], change


def changes_figure(run: Run, verdict: "Verdict", mark: str = "") -> list[tuple[Any, str]]:
    """Every change beside what could have been seen, where there are several."""
    from t2i.evaluation.verdict import BETTER, WORSE
    from t2i.reporting.figures import changes
    from t2i.reporting.shown import Change

    if len(verdict.rows) < 2:  # one dot
        return []
    path = changes(
        [
            Change(
                row.metric,
                row.effect.value,
                row.effect.low,
                row.effect.high,
                row.smallest_detectable,
                row.verdict,
                row.higher_is_better,
            )
            for row in verdict.rows
        ],
        run.figures() / f"changes{mark}.png",
        f"{verdict.sentence[0].upper()}{verdict.sentence[1:]}",
        "Grey band: changes that this many pictures miss in more than 20 of 100 cases.",
    )
    return [(path, f"Each metric's change with its 95 % interval; coloured where the table says {BETTER} or {WORSE}.")]


def _pictures(
    config: Config,
    run: Run,
    first: Measured,
    second: Measured,
    names: tuple[str, str],
    data: "Prepared",
    mark: str,
) -> list[tuple[Any, str]]:
    import numpy as np

    from t2i.reporting.figures import rows_of_pictures

    order, change = largest_losses(first, second)
    picked = _both_ends(order) if len(change) else order[:SHOWN]
    held_out = data.split("held_out")
    rows = rows_of(held_out)
    made = [measured.picked(picked) for measured in (first, second)]
    pictures = {
        "real": held_out.squares([rows[i] for i in picked], made[0].shape[1]),
        **dict(zip(names, made, strict=True)),
    }
    for place, pair in enumerate(zip(*made, strict=True)):
        run.tracker.image(np.concatenate(pair, axis=1), f"{names[0]} and {names[1]}", place)
    captions = [f"{first.captions[i]} ({change[i]:+.1f})" if len(change) else first.captions[i] for i in picked]
    path = rows_of_pictures(
        pictures,
        captions,
        run.figures() / f"base_versus_tuned{mark}.png",
        f"{names[0]} and {names[1]}, same captions and seeds: the largest losses first",
        "Brackets: change of the CLIP score, from the largest loss to the largest gain."
        if len(change)
        else "Each column: one caption and one seed.",
    )
    return [(path, "Each column is one held-out caption: its real picture, then both models from one seed.")]


def _both_ends(order: Sequence[int]) -> list[int]:
    if len(order) <= SHOWN:
        return list(order)
    return [*order[: SHOWN // 2], *order[-SHOWN // 2 :]]


def _metric(key: str) -> str:
    plain = key.removesuffix(".low").removesuffix(".high").removesuffix(".world")
    return plain.removesuffix(".real").removesuffix(".chance")
