"""`task=pipeline`: the whole experiment - data, embeddings, checks, training, pictures, numbers, sweep, report."""

from t2i.config import Config
from t2i.context import Run
from t2i.store import write_json
from t2i.tasks.embed import embed
from t2i.tasks.evaluate import Measured, measure, note
from t2i.tasks.memorisation import memorisation
from t2i.tasks.prepare import prepare
from t2i.tasks.report import write
from t2i.tasks.sweep import sweep
from t2i.tasks.train import train, trained
from t2i.tasks.verdict import tell, verdict_of
from t2i.tasks.verify import verify


def pipeline(config: Config, run: Run) -> dict[str, float]:
    """Returns the numbers of every part, prefixed by it; the run folder holds report.html, figures and tuned weights."""
    metrics: dict[str, float] = {}

    def add(part: str, numbers: dict[str, float]) -> None:
        metrics.update({f"{part}/{name}": value for name, value in numbers.items()})

    run.say("1/7 data")
    add("data", prepare(config, run))
    run.say("2/7 caption embeddings")
    add("embed", embed(config, run))
    run.say("3/7 wiring check")
    add("verify", verify(config, run))
    run.say("4/7 training")
    add("train", train(config, run))
    tuned, _ = trained(config, run)
    run.say("5/7 pictures and numbers, base and tuned")
    base, better = measure(config, run, None), measure(config, run, tuned)
    add("base", base.result.metrics)
    add("tuned", better.result.metrics)
    verdict = verdict_of(run, base, better)
    add("comparison", verdict.numbers)
    if run.main:
        note(run, {"base": base, "tuned": better})
        tell(config, run, verdict, base, better, ("base", "tuned"), "Base against tuned")
        _more(run, base, better)
    add("memorisation", memorisation(config, run, base, better, tuned, metrics))
    run.say("6/7 scheduler x guidance sweep")
    add("sweep", sweep(config, run, tuned))
    run.say("7/7 report")
    if run.main:
        write_json(run.folder / "metrics.json", metrics)
        path = write([run.folder], run.folder / "report.html")
        run.tracker.artifact(path)
        run.say(f"report: {path}")
    return metrics


def _more(run: Run, base: Measured, tuned: Measured) -> None:
    """The tuned model's pictures in a grid, and each metric of both models as a figure."""
    from t2i.reporting.figures import bars_with_intervals, sample_grid

    shown, folder = min(12, len(tuned.captions)), run.figures()
    title = "Tuned model, held-out captions"
    grid = sample_grid(tuned.pictures(shown), tuned.captions[:shown], folder / "generated_samples_grid.png", title)
    figures = [(grid, "Pictures of the tuned model.")]
    first, second = base.result.metrics, tuned.result.metrics
    for name in [name for name in first if f"{name}.low" in first]:
        values, low, high = ([numbers[name + end] for numbers in (first, second)] for end in ("", ".low", ".high"))
        path = folder / f"metric_{name.split('[')[0]}.png"
        bars_with_intervals(["base", "tuned"], values, low, high, path, name, name)
        figures.append((path, f"{name} of base and tuned, 95 % intervals."))
    run.section("Samples and numbers", "What the tuned model draws, and the numbers of both models.", (), figures)
