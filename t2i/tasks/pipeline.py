"""`task=pipeline`: the whole experiment - data, embeddings, checks, training, pictures, numbers, sweep, report."""

from t2i.config import Config
from t2i.context import Run
from t2i.store import write_json
from t2i.tasks.embed import embed
from t2i.tasks.evaluate import Measured, measure, metrics_table
from t2i.tasks.prepare import prepare
from t2i.tasks.report import write
from t2i.tasks.shared import prepared
from t2i.tasks.sweep import sweep
from t2i.tasks.train import train, trained
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
    if run.main:
        add("comparison", _compare(config, run, base, better))
    run.say("6/7 scheduler x guidance sweep")
    add("sweep", sweep(config, run, tuned))
    run.say("7/7 report")
    if run.main:
        write_json(run.folder / "metrics.json", metrics)
        path = write([run.folder], run.folder / "report.html")
        run.tracker.artifact(path)
        run.say(f"report: {path}")
    return metrics


def _compare(config: Config, run: Run, base_set: Measured, tuned_set: Measured) -> dict[str, float]:
    from t2i.evaluation.evaluate import compare
    from t2i.reporting.figures import bars_with_intervals, base_versus_tuned, sample_grid
    from t2i.reporting.numbers import number

    base, tuned = base_set.result, tuned_set.result
    verdict = compare(base, tuned)
    _, data = prepared(config, run)
    captions = base_set.captions
    shown = min(12, len(captions))
    pictures = {"base": base_set.pictures(shown), "tuned": tuned_set.pictures(shown)}
    held_out = data.split("held_out")
    side = config.dataset.resolution
    real = held_out.squares(range(shown), side) if len(held_out) >= shown else None
    title = f"{config.model.name}: base and tuned ({config.strategy.kind}), same captions and seeds"
    folder = run.figures()
    figures = [
        (
            base_versus_tuned(
                pictures["base"], pictures["tuned"], captions[:shown], folder / "base_versus_tuned.png", title, real
            ),
            "Each column is one held-out caption: the real picture, the base model, the tuned model, with equal seeds.",
        ),
        (
            sample_grid(
                pictures["tuned"],
                captions[:shown],
                folder / "generated_samples_grid.png",
                "Tuned model, held-out captions",
            ),
            "Pictures of the tuned model.",
        ),
    ]
    names = [name for name in base.metrics if not name.endswith((".low", ".high")) and f"{name}.low" in base.metrics]
    for name in names:
        values = [result.metrics[name] for result in (base, tuned)]
        low, high = ([result.metrics[name + end] for result in (base, tuned)] for end in (".low", ".high"))
        path = bars_with_intervals(
            ["base", "tuned"],
            values,
            low,
            high,
            folder / f"metric_{name.split('[')[0]}.png",
            name,
            name,
        )
        figures.append((path, f"{name} of base and tuned, 95 % intervals."))
    fid = f"fid[{base.definition['extractor']}]"
    sentence = verdict["sentence"][0].upper() + verdict["sentence"][1:]
    if fid in base.metrics:
        base_fid, tuned_fid = (
            number(r.metrics[fid], r.metrics[f"{fid}.low"], r.metrics[f"{fid}.high"]) for r in (base, tuned)
        )
        sentence += f"; {fid} {base_fid} before, {tuned_fid} after (lower is closer to the real pictures)"
    text = (
        f"{sentence}. {base.definition['generated_count']} pictures a model, same captions and seeds; "
        f"{base.definition['reference_count']} real held-out pictures as reference."
    )
    run.section(
        "Base against tuned",
        text,
        [metrics_table({"base": base.metrics, "tuned": tuned.metrics})],
        figures,
        verdict=f"**{sentence[: len(verdict['verdict'])]}**{sentence[len(verdict['verdict']) :]}.",
        facts={"Model": config.model.name, "Data": config.dataset.name, "Strategy": config.strategy.kind},
    )
    run.say(text)
    numbers = {
        "difference": verdict["difference"],
        "difference.low": verdict["low"],
        "difference.high": verdict["high"],
    }
    return {**numbers, "sign_test_p": verdict["sign_test_p"]}
