"""Comparison charts of the pipeline: the same prompts and seeds under every guidance scale, number of steps, scheduler."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, compose
from t2i.context import Run
from t2i.stages.captions import Captions, HeldOut, Texts
from t2i.stages.generated import Generated
from t2i.stages.pictures import read_pictures
from t2i.stages.scores import Scores
from t2i.stages.stage import made
from t2i.stages.weights import Weights

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from t2i.evaluation.statistics.intervals import Interval

FILES = {
    "guidance": "guidance_comparison.png",
    "steps": "inference_steps_comparison.png",
    "schedulers": "scheduler_comparison.png",
}
TITLES = {"guidance": "Guidance scales", "steps": "Numbers of denoising steps", "schedulers": "Schedulers"}


@dataclass(frozen=True)
class Column:
    """One setting: its label, its configuration, its pictures and the CLIP score of each."""

    label: str
    own: Config
    pictures: "Path"
    scores: "np.ndarray"


def charts(config: Config, run: Run, weights: Weights) -> dict[str, float]:
    """Returns `<chart>/<setting>/clip_score` with its interval, and its change against the run's own setting.

    Draws nothing that the store has.
    """
    metrics: dict[str, float] = {}
    for kind in config.charts.kinds:
        columns = [
            Column(label, scores.pictures.config, made(scores.pictures, run).path, scores.read(run))
            for label, scores in columns_of(config, weights, kind).items()
        ]
        numbers = _numbers(config, columns)
        for column, (mean, change) in zip(columns, numbers, strict=True):
            for name, interval in (("clip_score", mean), ("change", change)):
                if interval is not None:
                    key = f"{kind}/{column.label}/{name}"
                    metrics |= {key: interval.value, f"{key}.low": interval.low, f"{key}.high": interval.high}
        if run.main:
            _tell(config, run, weights, kind, columns, numbers)
    return metrics


def prompts_of(config: Config) -> Captions:
    """What every column draws: `charts.prompts`, or the first held-out captions, as many as there are."""
    return Texts(config.charts.prompts) if config.charts.prompts else HeldOut(config, config.charts.images, fewer=True)


def settings_of(config: Config, kind: str) -> dict[str, Config]:
    """The configuration of each column by its label."""
    charts = config.charts
    if kind == "guidance":
        return {f"{scale:g}": replace(config, cfg=replace(config.cfg, scale=scale)) for scale in charts.guidance}
    if kind == "steps":
        return {f"{n}": replace(config, scheduler=replace(config.scheduler, steps=n)) for n in charts.steps}
    named = {name: compose([f"scheduler={name}"]).scheduler for name in charts.schedulers}
    steps = config.scheduler.steps
    return {name: replace(config, scheduler=replace(own, steps=steps)) for name, own in named.items()}


def columns_of(config: Config, weights: Weights, kind: str) -> dict[str, Scores]:
    """The scored pictures of each column of one chart, by its label."""
    prompts = prompts_of(config)
    settings = settings_of(config, kind)
    return {label: Scores(config, Generated(own, prompts, weights)) for label, own in settings.items()}


def _own(config: Config, columns: list[Column]) -> Optional[int]:
    """The column that has the run's own setting."""
    settings = (config.cfg.scale, config.scheduler)
    return next((i for i, c in enumerate(columns) if (c.own.cfg.scale, c.own.scheduler) == settings), None)


def _numbers(config: Config, columns: list[Column]) -> "list[tuple[Optional[Interval], Optional[Interval]]]":
    """Of each column the mean score and its change against the run's own setting, prompt by prompt, with 95 % intervals."""
    from t2i.evaluation.statistics.paired import difference
    from t2i.evaluation.statistics.terms import Units, interval, of_mean

    own = _own(config, columns)
    units = Units()
    terms = [of_mean(c.scores, 0.0, 100.0) for c in columns]
    if len(columns[0].scores) < 2:
        return [(None, None) for _ in columns]
    return [
        (
            interval(one, units, world=False),
            None if own is None or i == own else difference(terms[own], one, units).difference,
        )
        for i, one in enumerate(terms)
    ]


def _tell(
    config: Config,
    run: Run,
    weights: Weights,
    kind: str,
    columns: list[Column],
    numbers: "list[tuple[Optional[Interval], Optional[Interval]]]",
) -> None:
    import numpy as np

    from t2i.evaluation.extractors.registry import source
    from t2i.reporting.figures import column_comparison
    from t2i.reporting.numbers import number

    prompts, own, clip = prompts_of(config).texts(run), _own(config, columns), source(config.eval)[0]
    rows = min(config.charts.rows, len(prompts))
    scheduler, guidance = f"{config.scheduler.name}, {config.scheduler.steps} steps", f"guidance {config.cfg.scale:g}"
    fixed = {"guidance": scheduler, "steps": f"{config.scheduler.name}, {guidance}"}.get(
        kind, f"{config.scheduler.steps} steps, {guidance}"
    )
    model = f"{config.model.name}{' tuned' if weights.find(run) else ''}"
    title = f"{TITLES[kind]}, the same prompts and seeds ({model}, {fixed})"
    head = {"guidance": "guidance {}", "steps": "{} steps", "schedulers": "{}"}[kind]
    means = np.array(
        [
            (mean.value, mean.low, mean.high) if mean else (column.scores.mean(), np.nan, np.nan)
            for column, (mean, _) in zip(columns, numbers, strict=True)
        ]
    )
    figure = column_comparison(
        prompts[:rows],
        [head.format(column.label) for column in columns],
        np.stack([read_pictures(column.pictures, rows) for column in columns], axis=1),
        np.stack([column.scores[:rows] for column in columns], axis=1),
        means,
        run.figures() / FILES[kind],
        title,
        f"Below a picture its CLIP score [{clip}]; below a column the mean of its {len(prompts)} pictures with its 95 % "
        "interval. Orange: the setting of this run.",
        "CLIP score",
        own,
    )
    shown = {
        column.label: [number(c.value, c.low, c.high) if c else "" for c in pair]
        for column, pair in zip(columns, numbers, strict=True)
    }
    table: dict[str, Any] = {
        "columns": [kind.removesuffix("s") if kind == "schedulers" else kind, f"CLIP score [{clip}]", "change"],
        "rows": [[label, *values] for label, values in shown.items()],
        "caption": "Change: against the setting of this run, prompt by prompt, which sees more than two overlapping "
        "intervals do. All 95 %, the prompts are the sample.",
    }
    best = columns[int(means[:, 0].argmax())]
    text = (
        f"Mean CLIP score [{clip}] of {len(prompts)} pictures a column: highest at "
        f"{head.format(best.label)} ({'; '.join(f'{head.format(k)}: {v[0]}' for k, v in shown.items())})."
    )
    run.section(TITLES[kind], text, [table], [(figure, title + ".")])
    run.detail(text)
