"""`task=pipeline`: the whole experiment - data, embeddings, checks, training, pictures, numbers, charts, sweep, report."""

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from t2i.config import Config, Part
from t2i.context import Run, finite
from t2i.errors import ConfigError
from t2i.stages.comparison import Comparison
from t2i.stages.elsewhere import elsewhere_of
from t2i.stages.evaluated import note
from t2i.stages.fitting import fit_images, require_judges
from t2i.stages.goals import Goals
from t2i.stages.metrics import Metrics
from t2i.stages.milestones import Point, measuring, of_training
from t2i.stages.nearest import Nearest
from t2i.stages.networks import model_digest
from t2i.stages.prepared import Prepared, data_of
from t2i.stages.stage import is_there, made
from t2i.stages.train_scores import TrainScores
from t2i.stages.training import Trained, Training
from t2i.stages.training_features import TrainingFeatures
from t2i.stages.weights import Base, Given, Weights
from t2i.store import write_json
from t2i.stories import charts, curve, report, subject
from t2i.stories.memorisation import memorisation
from t2i.stories.samples import samples
from t2i.stories.summary import next_commands, summary
from t2i.stories.verdict import tell
from t2i.sweeps.cells import require_read
from t2i.tasks import clip, embed, prepare, sweep, train, verify

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
    if {Part.compare, Part.sweep} & set(parts):
        require_judges(config, run)
    for number, part in enumerate(parts, start=1):
        if part is Part.train:  # rather than after hours of it
            for line in filter(None, (_unmeasured(later, config, run) for later in parts)):
                run.say(line)
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
    if run.main:
        write_json(run.folder / "metrics.json", finite(metrics))
        path = report.write([run.folder], run.folder / "report.html")
        run.tracker.artifact(path)
        page = summary(config, run, metrics)[1]
        run.say(f"{len(parts) + 1}/{len(parts) + 1} report: {path}, in short: {page.name}")
        for what, line in next_commands(config, run).items():
            run.say(f"{what}: {line}")
    return metrics


def _unmeasured(part: Part, config: Config, run: Run) -> str:
    """Why a part is left out: it needs more held-out pictures than there are; empty for one that can be done."""
    least = HELD_OUT.get(part, 0)
    count = len(data_of(config, run).split("held_out")) if least else 0
    if count >= least:
        return ""
    return (
        f"Not measured: {TITLES[part]} needs {least} held-out picture{'s' if least > 1 else ''}, and there "
        f"{'is 1' if count == 1 else f'are {count}'}; give more data, or a larger dataset.held_out_share."
    )


def weights_of(config: Config) -> Weights:
    """The weights that this run tunes; those of `weights=` where it does not train."""
    return Trained(Training(config)) if Part.train in config.parts else Given(config)


def both_of(config: Config) -> tuple[Metrics, Metrics]:
    """The numbers of the base and of the tuned model."""
    return Metrics(config), Metrics(config, weights_of(config))


def _data(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    yield "data", prepare.prepare(config, run)
    if run.main:
        captions = made(Prepared(config), run).path / CAPTIONS
        (run.folder / CAPTIONS).symlink_to(os.path.relpath(captions, run.folder))


def _compare(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    numbers = both_of(config)
    if numbers[1].weights.find(run) is None:
        raise ConfigError(
            "parts has compare and not train: there is nothing to compare; add train, or type weights=<run>"
        )
    base, tuned = (own.read(run) for own in numbers)
    yield "base", base.result.metrics
    yield "tuned", tuned.result.metrics
    verdict = Comparison(config, numbers[0], (numbers[1],)).read(run)[0]
    yield "comparison", verdict.numbers
    cost = ""
    if config.elsewhere is not None:
        cost = yield from _elsewhere(config, run, numbers[1].weights)
    if run.main:
        note(run, {"base": base, "tuned": tuned})
        tell(config, run, verdict, base, tuned, ("base", "tuned"), "Base against tuned", cost=cost)
        run.say(f"    tuned against base: {verdict.told('tuned')}")
        if verdict.disagreement:
            run.say(f"    {verdict.disagreement}")
        if told := subject.answer({"base": base.result.metrics, "tuned": tuned.result.metrics}, verdict):
            run.say(f"    {told}")
        subject.grid(config, run, {"base": Base(), "tuned": numbers[1].weights})
        samples(config, run, tuned)
    if points := _curve(config, run):
        yield "curve", curve.told(measuring(config), run, points)
    yield "memorisation", memorisation(config, run, *numbers, metrics)


def _curve(config: Config, run: Run) -> list[Point]:
    """Where this run trains and keeps milestones: the models of its curve."""
    return of_training(measuring(config), run) if Part.train in config.parts else []


def _elsewhere(config: Config, run: Run, weights: Weights) -> Generator[tuple[str, dict[str, float]], None, str]:
    """The same question on another data set; returns the sentence about it."""
    other = elsewhere_of(config, run)
    numbers = Metrics(other), Metrics(other, weights)
    base, tuned = (own.read(run) for own in numbers)
    verdict = Comparison(other, numbers[0], (numbers[1],)).read(run)[0]
    yield "elsewhere", verdict.numbers
    name = other.dataset.name
    if run.main:
        title = f"Elsewhere: base against tuned on {name}"
        tell(other, run, verdict, base, tuned, ("base", "tuned"), title, "_elsewhere")
    return f"On {name}, which it was not tuned on: {verdict.sentence}."


def _charts(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    if config.charts.kinds:
        yield "charts", charts.charts(config, run, weights_of(config))


def _sweep(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
    tuned = weights_of(config).find(run)
    numbers = sweep.sweep(replace(config, weights=str(tuned.folder)) if tuned else config, run)
    if run.main:
        run.say(f"    best cell: {run.sections[-1]['facts']['best']}")
    yield "sweep", numbers


def _whole(part: Part, task: Callable[[Config, Run], dict[str, float]]) -> Callable[..., Numbers]:
    """A task as a part."""

    def numbers(config: Config, run: Run, metrics: dict[str, float]) -> Numbers:
        yield part.value, task(config, run)

    return numbers


def stages(config: Config, run: Run) -> Goals:
    """What its parts want, in their order."""
    for part in (part for part in PARTS if part in config.parts):
        if part is not Part.verify:
            yield "data", [Prepared(config)]
        if is_there(Prepared(config), run) and (told := _unmeasured(part, config, run)):
            yield told, []
        else:
            yield from STAGES[part](config, run)


def _compared(config: Config, run: Run) -> Goals:
    if is_there(Prepared(config), run):
        fit_images(config, run)
    base, tuned = both_of(config)
    yield "base", [base]
    yield "tuned", [tuned]
    yield "comparison", [Comparison(config, base, (tuned,))]
    if points := _curve(config, run):
        measured = tuple(point.numbers for point in points)
        yield "checkpoints", [*measured, Comparison(measuring(config), measured[0], measured[1:])]
    if config.elsewhere is not None:
        other = elsewhere_of(config, run)
        there = Metrics(other), Metrics(other, tuned.weights)
        yield "elsewhere", [*there, Comparison(other, there[0], (there[1],))]
    yield "features of the training pictures", [TrainingFeatures(config)]
    yield "memorisation", [Nearest(config, base, tuned), TrainScores(config, tuned.weights)]


def _charted(config: Config, run: Run) -> Goals:
    for kind in config.charts.kinds:
        yield f"chart of {kind}", list(charts.columns_of(config, weights_of(config), kind).values())


STAGES: dict[Part, Callable[[Config, Run], Goals]] = {
    Part.data: prepare.stages,
    Part.embed: embed.stages,
    Part.verify: verify.stages,
    Part.train: train.stages,
    Part.compare: _compared,
    Part.charts: _charted,
    Part.sweep: lambda config, run: sweep.stages(config, run, weights_of(config)),
    Part.clip: clip.stages,
}


PARTS: dict[Part, Callable[[Config, Run, dict[str, float]], Numbers]] = {
    Part.data: _data,
    Part.embed: _whole(Part.embed, embed.embed),
    Part.verify: _whole(Part.verify, verify.verify),
    Part.train: _whole(Part.train, train.train),
    Part.compare: _compare,
    Part.charts: _charts,
    Part.sweep: _sweep,
    Part.clip: _whole(Part.clip, clip.clip),
}
