"""A thin ask/tell loop over Optuna: every cell of a grid exactly once, however often the command is repeated."""

import itertools
import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from t2i.errors import UserError
from t2i.store import digest_of
from t2i.sweeps.config import Sweep

Cell = dict[str, Any]
log = logging.getLogger("t2i")


def cells(space: Mapping[str, list[Any]]) -> list[Cell]:
    """Every combination, the last key varying fastest."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def run_grid(
    config: Sweep, storage: str, study_name: str, measure: Callable[[Cell, bool], dict[str, float]]
) -> list[tuple[Cell, dict[str, float]]]:
    """Measure each cell that no study of this name holds yet; return all cells in grid order with their numbers.

    measure(cell, known) returns the cell's metrics, `config.metric` among them; known cells are asked for again only
    to read their numbers (the store has them). A cell that raises is recorded as failed, is tried again the next time,
    and the others go on; its numbers are empty.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    choices: dict[str, BaseDistribution] = {key: CategoricalDistribution(v) for key, v in config.space.items()}
    study = _study(config, storage, study_name, choices)
    done = {_key(trial.params) for trial in _complete(study)}
    return [
        (cell, _measured(config, study, choices, cell, _key(cell) in done, measure)) for cell in cells(config.space)
    ]


def _measured(
    config: Sweep,
    study: optuna.Study,
    choices: dict[str, BaseDistribution],
    cell: Cell,
    known: bool,
    measure: Callable[[Cell, bool], dict[str, float]],
) -> dict[str, float]:
    """The numbers of one cell, recorded in the study when it is new; empty when it failed."""
    trial = None if known else _ask(study, cell, choices)
    try:
        metrics = measure(cell, known)
        if not math.isfinite(metrics[config.metric]):
            raise UserError(f"{config.metric} is {metrics[config.metric]}")
    except BaseException as error:
        log.warning("cell %s failed: %s: %s", cell, type(error).__name__, error)
        if trial is not None:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
            study.tell(trial, state=TrialState.FAIL)
        if not isinstance(error, Exception):  # interrupted: the other cells wait for the next time
            raise
        return {}
    if trial is not None:
        for name, value in metrics.items():
            trial.set_user_attr(name, value)
        study.tell(trial, metrics[config.metric])
    return metrics


def _ask(study: optuna.Study, cell: Cell, choices: dict[str, BaseDistribution]) -> optuna.Trial:
    """A running trial with the values of `cell`."""
    study.enqueue_trial(cell)
    while (trial := study.ask(choices)).params != cell:  # a killed process left another cell in the queue
        study.tell(trial, state=TrialState.FAIL)
    return trial


def _study(config: Sweep, storage: str, name: str, choices: dict[str, BaseDistribution]) -> optuna.Study:
    """The study of exactly this space and objective, with the trials of this space that studies of others hold.

    Optuna fixes the choices of a study with its first trial, so a space that grew is another study.
    """
    opened = optuna.storages.get_storage(storage)
    objective = {"space": config.space, "metric": config.metric, "direction": config.direction.value}
    own = f"{name}-{digest_of(objective)[:8]}"
    study = optuna.create_study(storage=opened, study_name=own, direction=config.direction.value, load_if_exists=True)
    missing = {_key(cell) for cell in cells(config.space)} - {_key(trial.params) for trial in _complete(study)}
    others = [other for other in optuna.get_all_study_names(opened) if other.startswith(f"{name}-") and other != own]
    for other in others:
        for trial in _complete(optuna.load_study(study_name=other, storage=opened)):
            if _key(trial.params) in missing and config.metric in trial.user_attrs:
                missing.remove(_key(trial.params))
                copy = optuna.trial.create_trial(
                    params=trial.params,
                    distributions=choices,
                    value=trial.user_attrs[config.metric],
                    user_attrs=trial.user_attrs,
                )
                study.add_trial(copy)
    return study


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


def _key(cell: Mapping[str, Any]) -> str:
    return json.dumps(cell, sort_keys=True)
