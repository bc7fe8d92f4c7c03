"""The models of a training's curve: the base, what it had tuned at each kept step, and what it ended with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, as_dict, restore
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.evaluation.config import HELD_OUT
from t2i.stages.checkpoint import FOLDER, AtStep, Checkpoint
from t2i.stages.metrics import Metrics
from t2i.stages.prepared import Prepared
from t2i.stages.stage import is_there, made
from t2i.stages.training import Trained, Training
from t2i.stages.training_features import TrainingFeatures
from t2i.stages.weights import Given, Weights

if TYPE_CHECKING:
    from t2i.evaluation.statistics.terms import Terms

OF_THE_RUN = ("dataset", "model", "strategy", "training", "scheduler", "cfg", "eval", "sampling", "seed", "batch_size")
"""Top keys that a curve takes from the run whose checkpoints it measures."""
FIXED = ("dataset", "model", "strategy", "training", "weights", "weights_scale", "experiment")
"""Those of them, and others, that cannot be typed otherwise: the training is what it was."""
MEMORISATION = "memorisation"


@dataclass(frozen=True)
class Point:
    """A model of the curve."""

    step: int
    """0: the base model."""
    numbers: Metrics


def measuring(config: Config) -> Config:
    """The configuration that measures a curve: the nearest training pictures are looked at in any case."""
    names = config.eval.metrics
    if MEMORISATION in names:
        return config
    return replace(config, eval=replace(config.eval, metrics=[*names, MEMORISATION]))


def of_training(config: Config, run: Run) -> list[Point]:
    """Of the training of this configuration: its milestones and its end; none without milestones."""
    training = Training(config)
    wanted = sorted(set(config.training.milestones))
    if is_there(training, run):
        wanted = [step for step in wanted if Checkpoint(config, step, training).wanted(run)]
        told = json.loads((made(training, run).path / "training.json").read_text(encoding="utf-8"))
        end = int(told["exported_step"])
    else:  # as far as it can be told: the best step is known when the training is there
        end = training.total(run) if is_there(Prepared(config), run) else config.training.steps
    return _points(config, wanted, training, end, Trained(training)) if wanted else []


def of_run(config: Config, folder: Path) -> list[Point]:
    """Of a finished run, whose configuration this is: every checkpoint that it kept, and its end."""
    from t2i.training.resuming.checkpoints import steps

    kept = folder / FOLDER
    found = [step for step in steps(kept) if (kept / f"step_{step:08d}").is_dir()]
    if not found:
        raise ConfigError(
            f"run={folder} kept no checkpoint; train it again with training.milestones=[100,200,...] training.resume=never, "
            "which keeps those of these steps"
        )
    given = Given(replace(config, weights=str(folder), weights_scale=[]))
    return _points(config, found, kept.absolute(), _exported(folder, config), given)


def _points(config: Config, steps: Sequence[int], origin: "Training | Path", end: int, weights: Weights) -> list[Point]:
    points = [Point(0, Metrics(config))]
    points += [Point(step, Metrics(config, AtStep(Checkpoint(config, step, origin)))) for step in steps if step != end]
    # What the training ended with is addressed as it always is: its pictures are drawn already.
    points.append(Point(end, Metrics(config, weights)))
    return sorted(points, key=lambda point: point.step)


def _exported(folder: Path, config: Config) -> int:
    """The step whose weights a run ended with."""
    path = folder / "metrics.json"
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in ("exported_step", "train/exported_step"):
        if name in told:
            return int(told[name])
    return config.training.steps


def config_of(config: Config, run: Run) -> Config:
    """The configuration of the run that `run=` names, with what was typed for how it is measured.

    Raises ConfigError without a run, for a folder that is none, and for a typed key of the training itself.
    """
    import yaml

    if config.run is None:
        raise ConfigError(
            "task=curve needs a training that kept checkpoints (training.milestones=[...]); type run=<run folder>"
        )
    path = Path(config.run).expanduser() / "config.yaml"
    if not path.exists():
        raise ConfigError(
            f"run={config.run} is no run folder (config.yaml is missing); give a run of task=train or task=pipeline"
        )
    then: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    now, values = as_dict(config), as_dict(config)
    typed = [override.lstrip("+~").partition("=")[0].replace("/", ".") for override in run.overrides]
    for name in typed:
        if name.partition(".")[0] in FIXED:
            _refuse_other(name, _at(now, name), _at(then, name))
    values |= {name: then[name] for name in OF_THE_RUN if name in then}
    for name in sorted(typed, key=lambda name: name.count(".")):
        if name.partition(".")[0] in {*OF_THE_RUN} - {*FIXED}:
            _put(values, now, name.split("."))
    if "launch.mixed_precision" not in typed:
        values["launch"]["mixed_precision"] = then.get("launch", {}).get("mixed_precision")
    values["training"]["resume"], values["training"]["resume_force"] = "auto", False  # nothing is trained
    found = restore(values)
    found.validate()
    return found


def _at(values: Mapping[str, Any], name: str) -> Any:
    """What a typed key means: of a group, what its option is called."""
    found: Any = values
    for key in name.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found.get("name", found.get("kind")) if isinstance(found, Mapping) else found


def _refuse_other(name: str, now: Any, then: Any) -> None:
    """ConfigError for a key of the training that was typed otherwise than the run has it."""
    measured = "leave it out (eval, scheduler, cfg and seed say how it is measured)"
    if name == "experiment":
        raise ConfigError(f"task=curve takes what an experiment sets from its run and {name} was typed; {measured}")
    if now != then:
        raise ConfigError(f"task=curve takes {name}={then} from its run and {name}={now} was typed; {measured}")


def _put(values: dict[str, Any], now: dict[str, Any], keys: Sequence[str]) -> None:
    """Take one typed key over."""
    for key in keys[:-1]:
        values, now = values[key], now[key]
    values[keys[-1]] = now[keys[-1]]


def real_distances(config: Config, run: Run, point: Point) -> "Optional[Terms]":
    """How far real held-out pictures are from the nearest that is trained on, by `eval.extractor`; None where they are not the
    reference, or there are too few.
    """
    from t2i.evaluation.metrics.memorisation import nearest_training
    from t2i.evaluation.statistics.terms import of_mean

    if config.eval.reference != HELD_OUT:
        return None
    known, trained = point.numbers.reference.known(run).features, TrainingFeatures(config).known(run).features
    name = next((name for name in trained if name in known), None)
    if name is None or len(known[name]) < 2:
        return None
    return of_mean(nearest_training(known[name], trained[name])[1], 0.0, 1.0)
