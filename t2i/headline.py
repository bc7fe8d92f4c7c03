"""What the tracker's list of runs says about each: a name that tells runs apart, and the settings that were changed."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from t2i.config import Config, Part, Task, as_dict, compose
from t2i.context import flat
from t2i.errors import UserError

UNTRACKED = (Task.diff, Task.report, Task.bundle, Task.serve, Task.prompt, Task.doctor, Task.store)
"""Tasks that measure nothing: they leave no run in the tracker."""
MAIN = (
    *("task", "model.name", "dataset.name", "strategy.kind", "training.steps", "training.batch_size"),
    *("strategy.learning_rate", "scheduler.name", "scheduler.steps", "cfg.scale", "eval.images", "seed"),
)
"""Settings that a table of runs is sorted by: every run tells them. Of the others it tells what it changed."""
PLACES = ("outputs", "track.", "debug", "then", "task", "plan")
"""Where a run happens, and what it is: nothing that it changes."""


def name_of(config: Config) -> str:
    """`lora r4 on scenes:animal, 150 steps`: what a run is about, in the words of its settings."""
    dataset = config.dataset.name + "".join(":" + "+".join(config.dataset.domains) for _ in config.dataset.domains[:1])
    strategy, steps = _strategy(config), f"{config.scheduler.name} {config.scheduler.steps} steps"
    brought = " and ".join(Path(name).name for name in config.weights_given)
    model = f"{config.model.name} with {brought}" if brought else config.model.name
    compared = " and ".join(Path(own).name for own in [*config.runs, *config.pictures_given])
    about = Path(config.run or config.bundle or "").name
    length = f"{config.training.epochs:g} epochs" if config.training.epochs else f"{config.training.steps:,} steps"
    trains = config.task is Task.train or (config.task is Task.pipeline and Part.train in config.parts)
    if trains:
        return f"{strategy} on {dataset}, {length}"
    if config.task is Task.evaluate and config.pictures_given:
        return f"evaluate the pictures of {compared}"
    return {
        Task.pipeline: f"{model} on {dataset}: {', '.join(part.value for part in config.parts)}",
        Task.evaluate: f"evaluate {model} on {dataset}, {steps}, guidance {config.cfg.scale:g}",
        Task.generate: _again(config)
        if config.recipe
        else f"generate with {model}, {steps}, guidance {config.cfg.scale:g}",
        Task.sweep: f"sweep {config.sweeps.name} of {model} on {dataset}",
        Task.compare: f"compare {compared or 'no runs'}",
        Task.curve: f"curve of {about or 'a training'}",
        Task.drift: f"drift of {model} on {dataset}",
        Task.verify: f"verify {config.model.name}, {strategy}",
        Task.clip: f"CLIP tuning on {dataset}",
        Task.export: f"export {about or model}",
        Task.rerun: f"rerun {about or 'no bundle'}",
        Task.diff: f"diff of {compared or 'no runs'}",
        Task.report: f"report of {compared or 'the newest pipeline run'}",
        Task.bundle: f"bundle of {about or 'no run'}",
        Task.serve: f"serve {model}",
        Task.prompt: f"prompt {model}",
        Task.doctor: "doctor: is this machine ready?",
        Task.store: "store: what runs have left",
    }.get(config.task, f"{config.task.value} {dataset}")


def _again(config: Config) -> str:
    """What a recipe draws: its own model, weights and settings, whatever is configured. One that is none is refused later."""
    from t2i.sampling.recipe import read_recipe

    path = Path(config.recipe or "").expanduser()
    try:
        recipe = read_recipe(path)
        weights, guidance = recipe["weights"] or {}, recipe["cfg"]["scale"]
        model, scheduler, steps = recipe["model"]["name"], recipe["scheduler"]["name"], recipe["scheduler"]["steps"]
        told = (config.weights_given if weights else []) or weights.get("path", [])
    except (UserError, KeyError, TypeError, AttributeError):
        return f"generate {path.name} again"
    paths = map(Path, [told] if isinstance(told, str) else told)
    brought = " and ".join((own.parent if own.name in ("weights", "clip") else own).name for own in paths)
    drawn = f"{model} with {brought}" if brought else model
    return f"generate {path.name} again: {drawn}, {scheduler} {steps} steps, guidance {guidance:g}"


def announced(config: Config) -> str:
    """The first line of a run: what will be done."""
    name = name_of(config)
    return name if name.startswith(config.task.value) else f"{config.task.value}: {name}"


def params_of(config: Config) -> dict[str, Any]:
    """`changed.<key>` for each setting that differs from the defaults, then those that every run tells."""
    values = flat(as_dict(config))
    changed = {f"changed.{key}": value for key, value in values.items() if _changed(key, value)}
    return {**changed, **{key: values[key] for key in MAIN if key in values}}


def _strategy(config: Config) -> str:
    rank = getattr(config.strategy, "rank", None)
    return config.strategy.kind + (f" r{rank}" if rank is not None else "")


def _changed(key: str, value: Any) -> bool:
    if key.startswith(PLACES):
        return False
    default = _defaults().get(key)
    if key == "launch.mixed_precision" and value == "no":  # what null means without a launcher
        return False
    return bool(value != default)


@lru_cache(maxsize=1)
def _defaults() -> Mapping[str, Any]:
    return flat(as_dict(compose([])))
