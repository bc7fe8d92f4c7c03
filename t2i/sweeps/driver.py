"""A thin ask/tell loop over Optuna: every cell of a grid exactly once, however often the command is repeated."""

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import optuna

from t2i.sweeps.config import Sweep

Cell = dict[str, Any]


def cells(space: Mapping[str, list[Any]]) -> list[Cell]:
    """Every combination, the last key varying fastest."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def run_grid(
    config: Sweep, storage: str, study_name: str, measure: Callable[[Cell, bool], dict[str, float]]
) -> list[tuple[Cell, dict[str, float]]]:
    """Measure each cell that the study does not hold yet; return all cells in grid order with their numbers.

    measure(cell, known) returns the cell's metrics, `config.metric` among them; known cells are asked for again only
    to read their numbers (the store has them). A cell that raises is recorded as failed, and the others go on.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=study_name, storage=storage, direction=config.direction.value, load_if_exists=True
    )
    choices: dict[str, optuna.distributions.BaseDistribution] = {
        key: optuna.distributions.CategoricalDistribution(values) for key, values in config.space.items()
    }
    done = {
        json.dumps(trial.params, sort_keys=True)
        for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    }
    results = []
    for cell in cells(config.space):
        known = json.dumps(cell, sort_keys=True) in done
        if known:
            results.append((cell, measure(cell, True)))
            continue
        study.enqueue_trial(cell)
        trial = study.ask(fixed_distributions=choices)
        try:
            metrics = measure(cell, False)
        except Exception as error:
            trial.set_user_attr("error", str(error))
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            results.append((cell, {}))
            continue
        for name, value in metrics.items():
            trial.set_user_attr(name, value)
        study.tell(trial, metrics[config.metric])
        results.append((cell, metrics))
    return results
