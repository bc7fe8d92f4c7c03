"""Settings that do not fit the data: found before anything is computed, and adapted where nobody chose them."""

from collections.abc import Callable, Sequence
from functools import partial

from t2i.config import Config, Part, Task
from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.evaluation.config import Evaluation
from t2i.stages import composition, seen, subject
from t2i.stages.prepared import data_of

KEY = "eval.images"


def require_judges(config: Config, run: Run) -> None:
    """Before anything is drawn: what no data of this kind can be measured by is said, and every network that a number will ask
    for is here or fetched now. Raises ConfigError where nothing could be measured, UserError with all networks that are missing.
    """
    from t2i.evaluation.extractors import judges, registry, vlm

    own = config.eval
    lacking = {composition.METRIC: composition.refusal(config)} if composition.METRIC in own.metrics else {}
    lacking |= dict.fromkeys(subject.asked(config), subject.refusal(config))
    lacking = {name: reason for name, reason in lacking.items() if reason}
    reasons: dict[str, list[str]] = {}
    for name, reason in lacking.items():
        reasons.setdefault(reason, []).append(name)
    told = [f"{', '.join(names)} cannot be measured: {reason}" for reason, names in reasons.items()]
    if len(lacking) == len(own.metrics):
        raise ConfigError("; ".join(told))
    if not config.plan:
        for line in told:
            run.say(line)
        asked: list[Callable[[], object]] = [partial(registry.digests, own)]
        asked += [partial(judges.judge_files, name, own) for name in judges.asked_for(own)]
        if vlm.asked(own) and "vqa_score" not in own.metrics:
            asked.append(partial(judges.judge_files, "vqa_score", own))
        _all_here(asked)


def _all_here(asked: Sequence[Callable[[], object]]) -> None:
    """UserError with the sentences of all that fail."""
    errors = []
    for look in asked:
        try:
            look()
        except UserError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else type(errors[0])(";\nand ".join(map(str, errors)))


def fit_images(config: Config, run: Run) -> None:
    """`eval.images`, and that of a sweep's cells, are at most the number of held-out captions: a default becomes that, a
    number that was chosen is refused. And what `weights=` were trained on is no judge of them.
    """
    sweeps = config.task is Task.sweep or (config.task is Task.pipeline and Part.sweep in config.parts)
    data = data_of(config, run)
    there = sum(map(len, data.split("held_out").captions))
    typed = {item.split("=")[0].lstrip("+") for item in run.overrides}
    subject.require(config, run)
    if told := seen.told(config, run):
        run.say(told)
    if config.eval.images > there:
        if config.eval.images != Evaluation().images or KEY in typed or not there:
            raise _too_few(KEY, config.eval.images, there)
        run.say(f"{KEY}={there} in place of the default of {config.eval.images}: one for each held-out caption")
        config.eval.images = there
        if sweeps:  # whose cells are composed anew
            config.sweeps.fixed.setdefault(KEY, there)
    cells = int(config.sweeps.fixed.get(KEY, 0))
    if sweeps and cells > there:
        if any(key.startswith(("sweeps", "experiment")) for key in typed):
            raise _too_few(f"sweeps.fixed.{KEY}", cells, there)
        run.say(f"sweeps.fixed.{KEY}={there} in place of the default of {cells}: one for each held-out caption")
        config.sweeps.fixed[KEY] = there


def _too_few(key: str, count: int, there: int) -> ConfigError:
    helps = f"use {key}={there} or more data" if there else "use more data, or a larger dataset.held_out"
    return ConfigError(f"{key}={count}: {count} held-out captions are needed and {there} are there; {helps}")
