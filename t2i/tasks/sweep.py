"""`task=sweep`: the same captions and seeds in every cell of a grid, and which cell is best."""

from pathlib import Path
from typing import Any, Optional

from t2i.config import Config, as_dict, compose
from t2i.context import Run, flat
from t2i.errors import UserError
from t2i.store import digest_of
from t2i.sweeps.config import Direction
from t2i.tasks.evaluate import Measured, measure
from t2i.tasks.shared import Tuned, find_tuned, model_digest, prepared
from t2i.tasks.sweep_figures import Finding, tell


def sweep(config: Config, run: Run, tuned: Optional[Tuned] = None) -> dict[str, float]:
    """Returns the best cell's metrics; leaves heat maps and a grid of pictures. Cells that are done are not done again."""
    from t2i.sweeps.driver import Cell, cells, run_grid

    tuned = tuned or find_tuned(config, run)
    metric = config.sweeps.metric
    pictures: list[Measured] = []
    new = 0

    def measure_cell(cell: Cell, known: bool) -> dict[str, float]:
        nonlocal new
        label = ", ".join(f"{key}={value}" for key, value in cell.items())
        own = cell_config(config, run, cell)
        measured = measure(own, run, tuned)
        pictures.append(measured)
        numbers = measured.result.metrics
        if metric not in numbers:
            raise UserError(f"sweeps.metric={metric} was not measured; use one of: {', '.join(_values(numbers))}")
        if not known:
            new += 1
            with run.tracker.child(f"cell {label}") as child:
                child.params(flat(as_dict(own)))
                child.metrics(numbers)
        run.say(f"{label}: {metric} = {numbers[metric]:.3f}{' (known)' if known else ''}")
        return numbers

    if run.main:
        storage = config.sweeps.storage or f"sqlite:///{Path(config.outputs) / 'sweeps.db'}"
        results = run_grid(config.sweeps, storage, study_name(config, run, tuned), measure_cell)
    else:  # the study belongs to the main process; the others help it to make the pictures
        results = [(cell, measure_cell(cell, True)) for cell in cells(config.sweeps.space)]
    succeeded = [(cell, numbers) for cell, numbers in results if numbers]
    if not succeeded:
        raise UserError(f"every cell of sweeps={config.sweeps.name} failed; see run.log")
    sign = 1 if config.sweeps.direction is Direction.maximize else -1
    best = max(succeeded, key=lambda item: sign * item[1][metric])
    if run.main:
        tell(config, run, Finding(results, best, pictures, new))
    return {f"best.{key}": value for key, value in best[1].items()} | {
        "cells": float(len(results)),
        "new_cells": float(new),
    }


def study_name(config: Config, run: Run, tuned: Optional[Tuned]) -> str:
    """One Optuna study for everything that the cells have in common: the space itself may grow."""
    data, _ = prepared(config, run)
    identity = {
        "model": model_digest(config, run),
        "weights": tuned.digest if tuned else "",
        "data": data.digest,
        "fixed": as_dict(config.sweeps.fixed),
        "settings": {name: as_dict(getattr(config, name)) for name in ("eval", "scheduler", "cfg", "seed")},
    }
    return f"{config.sweeps.name}-{digest_of(identity)[:12]}"


def cell_config(config: Config, run: Run, cell: dict[str, Any]) -> Config:
    """The run's own command line with the fixed settings of the sweep and the values of one cell on top."""
    changes = {**config.sweeps.fixed, **cell}
    ordered = sorted(changes.items(), key=lambda item: "." in item[0])  # a group would overwrite a key set before it
    own = compose([*run.overrides, *(f"{key}={value}" for key, value in ordered)])
    own.outputs, own.launch, own.dataset = config.outputs, config.launch, config.dataset
    own.validate()
    return own


def _values(numbers: dict[str, float]) -> list[str]:
    return [name for name in numbers if not name.endswith((".low", ".high"))]
