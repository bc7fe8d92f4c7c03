"""A thin ask/tell loop over Optuna: every cell exactly once, whoever works on it and however often it is repeated."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from t2i.errors import UserError
from t2i.sweeps.config import Sampler
from t2i.sweeps.space import Cell, key_of
from t2i.sweeps.study import CELL, ERROR, NUMBERS, Study

log = logging.getLogger("t2i")
Report = Callable[[Sequence[float]], bool]
"""Takes the scores of further prompts, in the order that every cell has; whether the cell is beaten by now."""
Measure = Callable[[Cell, Report], dict[str, Any]]
"""The numbers of a cell, the objectives among them; raises Beaten when the report says so."""


class Beaten(Exception):
    """A cell left the race; `numbers` are those of the pictures that it made."""

    def __init__(self, numbers: dict[str, Any]) -> None:
        super().__init__("beaten")
        self.numbers = numbers


@dataclass(frozen=True)
class Outcome:
    """What is known of a cell."""

    cell: Cell
    numbers: dict[str, Any]
    """Empty when the cell failed; of the pictures it made when it was beaten."""
    beaten: bool = False
    new: bool = False
    """Measured since this worker began."""


def work(study: Study, measure: Measure, wait: float = 1.0) -> None:
    """Take and measure cells until none is left, of this worker or of any other.

    A cell that raises is recorded with its error and the others go on; what is no Exception (an interruption) gives the
    cell back and is raised.
    """
    while True:
        taken = study.take()
        if taken is not None:
            try:
                with study.alive(taken[0]):
                    _measured(study, *taken, measure)
            except optuna.exceptions.UpdateFinishedTrialError:  # its heart seemed to have stopped
                log.warning("cell %s was given to another worker meanwhile", taken[1])
        elif study.left():
            time.sleep(wait)  # another worker may die and leave its cell
        else:
            return


def _measured(study: Study, trial: optuna.Trial, cell: Cell, measure: Measure) -> None:
    reported = 0

    def report(scores: Sequence[float]) -> bool:
        nonlocal reported
        for score in scores:
            trial.report(score, reported)
            reported += 1
        return trial.should_prune()

    objectives = list(study.config.objectives)
    try:
        numbers = measure(cell, report)
        for name in objectives:
            if not math.isfinite(numbers.get(name, math.nan)):
                raise UserError(f"{name} is {numbers.get(name, 'not measured')}")
    except Beaten as beaten:
        trial.set_user_attr(NUMBERS, beaten.numbers)
        study.show(trial, beaten.numbers)
        study.optuna.tell(trial, state=TrialState.PRUNED)
        return
    except BaseException as error:
        if isinstance(error, Exception):
            log.warning("cell %s failed: %s: %s", cell, type(error).__name__, error)
            trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
        study.optuna.tell(trial, state=TrialState.FAIL)
        if not isinstance(error, Exception):
            raise
        return
    trial.set_user_attr(NUMBERS, numbers)
    study.show(trial, numbers)
    study.optuna.tell(trial, [numbers[name] for name in objectives])


def outcomes(study: Study) -> list[Outcome]:
    """Every cell: of a grid in its order, those that failed among them; otherwise in the order of the trials."""
    finished = study.finished()
    if study.config.sampler is Sampler.grid:
        order = [(key_of(cell), cell) for cell in study.wanted()]
    else:
        order = [(key, trial.user_attrs[CELL]) for key, trial in finished.items()]
    found = []
    for key, cell in order:
        trial = finished.get(key)
        if trial is None:
            found.append(Outcome(cell, {}))
            continue
        ended = trial.datetime_complete.timestamp() if trial.datetime_complete else 0.0
        beaten = trial.state is TrialState.PRUNED
        found.append(Outcome(cell, trial.user_attrs.get(NUMBERS, {}), beaten, ended >= study.began))
    return found
