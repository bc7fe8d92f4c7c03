"""What a sweep shows: heat maps, fronts, effects, pictures, prompts, and the best setting as a command line to paste."""

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2i.config import CONF, Config, as_override, spelt
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.stages.pictures import read_pictures
from t2i.store import damage
from t2i.stories import report
from t2i.stories.cells import raced, sure, table
from t2i.sweeps.findings import SCORES, Finding, effects, plain, shares, shown

if TYPE_CHECKING:
    from t2i.sweeps.study import Study

PROMPTS = 6
"""Prompts shown as the best and as the worst."""
COSTS = ("seconds_per_image", "evaluations_per_image")


def tell(config: Config, run: Run, study: "Study", finding: Finding) -> None:
    """Add the sweep to the run's story, as a page of its own too, and write `sweeps.apply`."""
    from t2i.reporting.numbers import number

    best = finding.best
    settings = {
        key: value for key, value in {**config.sweeps.fixed, **best.cell}.items() if not key.startswith("eval.")
    }
    command = " ".join(shlex.quote(as_override(key, value)) for key, value in settings.items())
    value = ", ".join(
        f"{name} = {number(best.numbers[name], best.numbers.get(f'{name}.low'), best.numbers.get(f'{name}.high'))}"
        for name in finding.standings
    )
    new = sum(outcome.new and bool(outcome.numbers) for outcome in finding.outcomes)
    what = "suggested" if finding.several else "best"
    text = (
        f"{len(finding.outcomes)} cells ({new} new): {what} {value} with `{command}`. {sure(finding)}"
        f"{raced(finding)}{_explained(config, study, finding)}"
    )
    figures = [*_maps(config, run, finding), *_fronts(config, run, finding), *_effects(config, run, finding)]
    figures += _pictures(config, run, finding)
    # In a pipeline the page answers another question.
    head = {"question": "Which setting is best?", "verdict": f"**{command}** - {sure(finding)}"}
    run.section(
        "Sweep", text, [table(finding)], figures, best=command, **(head if config.task.value == "sweep" else {})
    )
    run.detail(text)
    if config.sweeps.apply:
        run.say(f"written: {apply(config, settings)}; use it by experiment={config.sweeps.apply}")
    if config.task.value == "sweep":
        path = report.write([run.folder], run.folder / "report.html")
        run.tracker.artifact(path)
        run.say(f"report: {path}")


def _explained(config: Config, study: "Study", finding: Finding) -> str:
    parts = shares(config, finding.outcomes)
    if parts:
        told = ", ".join(f"{name} {share:.0%}" for name, share in parts.items())
        return f" Of the variance between the cells: {told}."
    importance = _importance(study)
    return f" Importance (PED-ANOVA): {', '.join(f'{k} {v:.0%}' for k, v in importance.items())}." if importance else ""


def _importance(study: "Study") -> dict[str, float]:
    """How much each setting decides whether a cell is among the best (Watanabe et al. 2023), by Optuna."""
    import optuna

    whole = [trial for trial in study.trials() if trial.state is optuna.trial.TrialState.COMPLETE]
    shared = set.intersection(*(set(trial.params) for trial in whole)) if whole else set()
    if len(whole) < 8 or len(shared) < 2 or len(study.config.objectives) > 1:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(study.optuna, evaluator=evaluator, params=sorted(shared))


def _maps(config: Config, run: Run, finding: Finding) -> list[tuple[Path, str]]:
    """Heat maps, for grids of one or two dimensions."""
    from t2i.reporting.figures import heat_map

    shape = _shape(config, finding)
    if shape is None:
        return []
    space = config.sweeps.space
    *upper, last = space
    rows = [spelt(value) for value in space[upper[0]]] if upper else [config.sweeps.name]
    columns = [as_override(last, value) for value in space[last]]
    count = config.sweeps.fixed.get("eval.images", config.eval.images)
    maps = {name: own.higher_is_better for name, own in finding.standings.items()}
    bases = [name for name in plain(finding.best.numbers) if not name.endswith((".low", ".high"))]
    maps |= {name: False for name in bases if name.startswith(("fid[", "kid[")) and name not in maps}
    made = []
    for name, higher in maps.items():
        value, low, high = (
            np.array([plain(outcome.numbers).get(name + end, math.nan) for outcome in finding.outcomes]).reshape(shape)
            for end in ("", ".low", ".high")
        )
        own = finding.standings.get(name)
        tied = np.array(own.tied).reshape(shape) if own is not None and (own.tested or not finding.several) else None
        path = run.figures() / f"heat_map_{name.split('[')[0]}.png"
        heat_map(rows, columns, value, path, f"{name} by {' and '.join(space)}", name, higher, low, high, tied)
        made.append((path, f"{name} in every cell, {count} pictures a cell, with 95 % intervals."))
    return made


def _shape(config: Config, finding: Finding) -> tuple[int, int] | None:
    """Rows and columns of a whole grid of one or two lists."""
    sizes = [len(values) for values in config.sweeps.space.values() if isinstance(values, list)]
    if len(sizes) != len(config.sweeps.space) or len(sizes) > 2 or math.prod(sizes) != len(finding.outcomes):
        return None
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _fronts(config: Config, run: Run, finding: Finding) -> list[tuple[Path, str]]:
    """Quality against time, and against each further objective."""
    from t2i.reporting.figures import front

    metric, *others = finding.standings
    measured = [k for k, o in enumerate(finding.outcomes) if o.numbers and not o.beaten]
    made = []
    for name in others or [COSTS[0]]:
        if len(measured) < 3 or any(name not in finding.outcomes[k].numbers for k in measured):
            continue
        higher = {COSTS[0]: False} | {key: own.higher_is_better for key, own in finding.standings.items()}
        signs = [1 if higher[key] else -1 for key in (name, metric)]
        points = [(finding.outcomes[k].numbers[name], finding.outcomes[k].numbers[metric]) for k in measured]
        chosen = [
            not any(
                signs[0] * p[0] >= signs[0] * q[0] and signs[1] * p[1] >= signs[1] * q[1] and p != q for p in points
            )
            for q in points
        ]
        tied = [False] * len(measured)
        if finding.several and len(finding.standings) == 2:  # with more, the front is no line in this plane
            on_front = [finding.front[k] for k in measured]
            chosen, tied = (
                [own and on for own, on in zip(chosen, on_front, strict=True)],
                [on and not own for own, on in zip(chosen, on_front, strict=True)],
            )
        labels = [f"{key} ({'higher' if higher[key] else 'lower'} is better)" for key in (name, metric)]
        path = run.figures() / f"front_{name.split('[')[0]}.png"
        front(
            [shown(finding.outcomes[k]) for k in measured],
            [point[0] for point in points],
            [point[1] for point in points],
            chosen,
            path,
            f"{metric} against {name}",
            (labels[0], labels[1]),
            tied=tied,
            suggested=next((n for n, k in enumerate(measured) if finding.outcomes[k] is finding.best), None)
            if finding.several
            else None,
        )
        caption = "Cells on the front are not beaten in both at once."
        if any(tied):
            caption += " Hollow: on the front because they cannot be told from the best."
        made.append((path, f"{caption}{' Ring: the suggested one.' if finding.several else ''}"))
    return made


def _effects(config: Config, run: Run, finding: Finding) -> list[tuple[Path, str]]:
    from t2i.reporting.figures import effects as draw

    found = effects(config, finding.outcomes)
    if not found:
        return []
    path = draw(
        found,
        run.figures() / "effects.png",
        f"What each setting does to {(metric := next(iter(finding.standings)))}",
        metric,
    )
    return [(path, "Mean over all cells with a value; the bar goes from the lowest of them to the highest.")]


def _pictures(config: Config, run: Run, finding: Finding) -> list[tuple[Path, str]]:
    """The first caption in every cell; the prompts that the best cell draws best and worst. Of sets that are here."""
    from t2i.reporting.figures import cell_grid, sample_grid

    made = []
    folders = [Path(outcome.numbers.get("pictures", "/nowhere")) for outcome in finding.outcomes]
    shape = _shape(config, finding)
    if shape is not None and all(damage(folder) == [] for folder in folders):
        space = config.sweeps.space
        *upper, last = space
        rows = [spelt(value) for value in space[upper[0]]] if upper else [config.sweeps.name]
        first = _of_one_size([read_pictures(folder, 1)[0] for folder in folders])
        path = run.figures() / "cell_grid.png"
        grid = np.stack(first).reshape(*shape, *first[0].shape)
        cell_grid(
            rows,
            [as_override(last, value) for value in space[last]],
            grid,
            path,
            "The same caption and seed in every cell",
        )
        made.append((path, "The first held-out caption, with one seed, in every cell."))
    folder = Path(finding.best.numbers.get("pictures", "/nowhere"))
    scores = finding.best.numbers.get(SCORES)
    if damage(folder) == [] and scores and len(scores) >= 2 * PROMPTS:
        import json

        captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
        # Over all cells, so that a prompt is called hard, not a picture unlucky.
        tables = [o.numbers[SCORES] for o in finding.outcomes if o.numbers and not o.beaten and SCORES in o.numbers]
        mean = np.mean([table for table in tables if len(table) == len(scores)], axis=0)
        order = np.argsort(mean)
        for name, places in (("best", order[::-1][:PROMPTS]), ("worst", order[:PROMPTS])):
            path = run.figures() / f"prompts_{name}.png"
            pictures = np.stack([read_pictures(folder, 1, int(place))[0] for place in places])
            texts = [f"{mean[place]:.1f}: {captions[place]}" for place in places]
            sample_grid(pictures, texts, path, f"Prompts with the {name} CLIP scores", columns=3)
            made.append((path, f"Mean score over all cells; pictures of the best cell ({name} prompts)."))
    return made


def _of_one_size(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Pictures of a sweep over resolutions side by side: the smaller ones with larger pixels."""
    from PIL import Image

    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    return [np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.NEAREST)) for p in pictures]


def apply(config: Config, settings: dict[str, Any]) -> Path:
    """Write the best setting as an experiment. Raises ConfigError when there is one of this name."""
    path = CONF / "experiment" / f"{config.sweeps.apply}.yaml"
    if path.exists():
        raise ConfigError(f"sweeps.apply={config.sweeps.apply}: {path} exists; choose another name")
    import yaml

    groups = {key: value for key, value in settings.items() if "." not in key}
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if "." in key:
            level = values
            *parents, name = key.split(".")
            for parent in parents:
                level = level.setdefault(parent, {})
            level[name] = value
    lines = [
        "# @package _global_",
        f"# The best of sweeps={config.sweeps.name} by {' and '.join(config.sweeps.objectives)}, model={config.model.name}.",
    ]
    content: dict[str, Any] = (
        {"defaults": [{f"override /{key}": value} for key, value in groups.items()]} if groups else {}
    )
    text = yaml.safe_dump({**content, **values}, sort_keys=False)
    path.write_text("\n".join(lines) + "\n" + text, encoding="utf-8")
    return path
