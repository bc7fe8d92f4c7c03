"""`task=pipeline`: the whole experiment - data, embeddings, checks, training, pictures, numbers, charts, sweep, report."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Optional

from t2i.config import Config, Part
from t2i.context import Run, finite
from t2i.errors import ConfigError
from t2i.stages.fitting import fit_images
from t2i.stages.generated import model_digest, prepared
from t2i.stages.tuned import Tuned, find_tuned
from t2i.store import write_json
from t2i.stories.charts import charts
from t2i.stories.memorisation import memorisation
from t2i.stories.samples import samples
from t2i.stories.summary import next_commands, summary
from t2i.stories.verdict import tell, verdict_of
from t2i.sweeps.cells import require_read
from t2i.tasks.clip import clip
from t2i.tasks.embed import embed
from t2i.tasks.evaluate import measure, note
from t2i.tasks.prepare import prepare
from t2i.tasks.report import write
from t2i.tasks.sweep import sweep
from t2i.tasks.train import train, trained
from t2i.tasks.verify import verify

CAPTIONS = "captions_subset.json"
TITLES = {
    Part.data: "data",
    Part.embed: "caption embeddings",
    Part.verify: "wiring check",
    Part.train: "training",
    Part.compare: "pictures and numbers, base and tuned",
    Part.charts: "comparison charts",
    Part.sweep: "sweep",
    Part.clip: "CLIP",
}
HELD_OUT = {Part.compare: 2, Part.charts: 1, Part.sweep: 2}
"""Held-out pictures that a part needs at least."""
Numbers = Iterator[tuple[str, dict[str, float]]]
"""Numbers under the prefix of what they are about."""


def pipeline(config: Config, run: Run) -> dict[str, float]:
    """Returns the numbers of every part, prefixed by it; the run folder holds report.html, summary.html, summary.md,
    metrics.csv, figures and tuned weights.
    """
    metrics: dict[str, float] = {}
    parts = [part for part in PARTS if part in config.parts]
    if {Part.verify, Part.train, Part.compare, Part.charts, Part.sweep} & set(parts):
        model_digest(config, run)  # a model that is not there is told before data is prepared
    if Part.sweep in parts:
        require_read(config, run)  # rather than after hours of training
    for number, part in enumerate(parts, start=1):
        run.say(f"{number}/{len(parts) + 1} {TITLES[part]}")
        unmeasured = _unmeasured(part, config, run)
        if part is not Part.data and not unmeasured and {Part.compare, Part.sweep} & set(parts):
            fit_images(config, run)
        if unmeasured:
            run.say(unmeasured)
            run.section(TITLES[part].capitalize(), unmeasured)
            continue
        for prefix, numbers in PARTS[part](config, run, metrics):
            metrics |= {f"{prefix}/{name}": value for name, value in numbers.items()}
    run.say(f"{len(parts) + 1}/{len(parts) + 1} report")
    if run.main:
        write_json(run.folder / "metrics.json", finite(metrics))
        path = write([run.folder], run.folder / "report.html")
        run.tracker.artifact(path)
        page = summary(config, run, metrics)[1]
        run.say(f"report: {path}")
        run.say(f"summary: {page}")
        for what, line in next_commands(config, run).items():
            run.say(f"{what}: {line}")
    return metrics


def _unmeasured(part: Part, config: Config, run: Run) -> str:
    """Why a part is left out: it needs more held-out pictures than there are; empty for one that can be done."""
    least = HELD_OUT.get(part, 0)
    count = len(prepared(config, run)[1].split("held_out")) if least else 0
    if count >= least:
        return ""
    return (
        f"Not measured: {TITLES[part]} needs {least} held-out picture{'s' if least > 1 else ''}, and there "
        f"{'is 1' if count == 1 else f'are {count}'}; give more data, or a larger dataset.held_out_share."
    )


def tuned_of(config: Config, run: Run) -> Optional[Tuned]:
    """The weights that this run tunes; those of `weights=` where it does not train."""
    return trained(config, run)[0] if Part.train in config.parts else find_tuned(config, run)


def _data(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    yield "data", prepare(config, run)
    if run.main:
        captions = prepared(config, run)[0].path / CAPTIONS
        (run.folder / CAPTIONS).symlink_to(os.path.relpath(captions, run.folder))


def _embed(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    yield "embed", embed(config, run)


def _verify(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    yield "verify", verify(config, run)


def _train(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    yield "train", train(config, run)


def _compare(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    tuned = tuned_of(config, run)
    if tuned is None:
        raise ConfigError(
            "parts has compare and not train: there is nothing to compare; add train, or type weights=<run>"
        )
    base, better = measure(config, run, None), measure(config, run, tuned)
    yield "base", base.result.metrics
    yield "tuned", better.result.metrics
    verdict = verdict_of(run, base, better)
    yield "comparison", verdict.numbers
    if run.main:
        note(run, {"base": base, "tuned": better})
        tell(config, run, verdict, base, better, ("base", "tuned"), "Base against tuned")
        samples(config, run, base, better)
    yield "memorisation", memorisation(config, run, base, better, tuned, metrics)


def _charts(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    if config.charts.kinds:
        yield "charts", charts(config, run, tuned_of(config, run))


def _sweep(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    tuned = tuned_of(config, run)
    yield "sweep", sweep(replace(config, weights=str(tuned.folder)) if tuned else config, run)


def _clip(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    yield "clip", clip(config, run)


PARTS: dict[Part, Callable[[Config, Run, dict[str, float]], Numbers]] = {
    Part.data: _data,
    Part.embed: _embed,
    Part.verify: _verify,
    Part.train: _train,
    Part.compare: _compare,
    Part.charts: _charts,
    Part.sweep: _sweep,
    Part.clip: _clip,
}
