"""`task=sweep`: the same captions and seeds in every cell of a search, and which cell is best."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, as_override
from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.headline import params_of
from t2i.processes import world_size
from t2i.stages.fitting import fit_images, require_judges
from t2i.stages.goals import Goals
from t2i.stages.metrics import Metrics
from t2i.stages.pictures import read_pictures
from t2i.stages.prepared import Prepared
from t2i.stages.reference import OfStage
from t2i.stages.stage import is_there
from t2i.stages.weights import Weights
from t2i.store import damage
from t2i.sweeps import workers
from t2i.sweeps.cells import Identities, cell_config, cell_trains, grid_cells, require_read, weights_of
from t2i.sweeps.config import Sampler
from t2i.sweeps.measuring import measured_cell
from t2i.sweeps.objectives import settled
from t2i.sweeps.opening import study_of
from t2i.sweeps.reference import drawn, referred
from t2i.sweeps.space import Cell, cells

if TYPE_CHECKING:
    from t2i.sweeps.driver import Report


def stages(config: Config, run: Run, weights: Optional[Weights] = None) -> Goals:
    """The numbers of every cell of a grid, and their reference; of other searches nothing is known before.

    weights: those that draw; None: what `weights=` and the cells name.
    """
    require_read(config, run)
    yield "data", [Prepared(config)]
    if is_there(Prepared(config), run):
        fit_images(config, run)
    every = cells(config.sweeps.space)
    if config.sweeps.sampler is not Sampler.grid or cell_trains(config, config.sweeps.space):
        yield f"sweep: up to {config.sweeps.trials or len(every)} cells, chosen while it runs", []
        return
    reference = drawn(config, run, weights) if config.sweeps.reference is not None else None
    if reference is not None:
        yield "reference of the sweep", [reference]
    numbers = []
    for cell in every:
        own = cell_config(config, run, cell)
        against = OfStage(own, reference.pictures) if reference else None
        numbers.append(Metrics(own, weights or weights_of(config, run, cell), against))
    yield f"sweep, {len(every)} cells", numbers


def sweep(config: Config, run: Run) -> dict[str, float]:
    """Returns the best cell's numbers; leaves heat maps, effects, pictures and a report. Cells that are done stay done."""
    if not workers.is_worker():
        require_read(config, run)  # rather than after data was prepared
    config = settled(config)
    require_judges(config, run)
    fit_images(config, run)
    if world_size() > 1 and (config.sweeps.racing or config.sweeps.sampler is not Sampler.grid):
        raise ConfigError("racing and samplers other than grid share cells among workers: use sweeps.workers=<GPUs>")
    config = referred(config, run)
    known = Identities(config, run)
    for cell in [{}, *grid_cells(config)] if world_size() > 1 else []:
        known(cell)  # by all processes: what is read for it may have to be prepared
    if not run.main:  # the study belongs to the main process; the others help it to make the pictures
        for cell in iter(lambda: _told(run, None), None):
            measured_cell(config, run, cell, lambda scores: False)
        return {}
    from t2i.stories.sweep import tell
    from t2i.sweeps.budget import planned
    from t2i.sweeps.driver import outcomes, work
    from t2i.sweeps.findings import find, plain

    config = planned(config, run)
    study = study_of(config, run)

    def one(cell: Cell, report: "Report") -> dict[str, Any]:
        if world_size() > 1:
            _told(run, cell)
        numbers = measured_cell(config, run, cell, report)
        if workers.is_worker():
            return numbers
        label = ", ".join(as_override(key, value) for key, value in cell.items())
        with run.tracker.child(f"cell {label}") as child:
            child.params(params_of(cell_config(config, run, cell)))
            child.metrics(plain(numbers))
            if damage(Path(numbers.get("pictures", "/nowhere"))) == []:
                child.image(read_pictures(Path(numbers["pictures"]), 1)[0], "first caption")
        told = (f"{name} = {numbers[name]:.3f}" for name in config.sweeps.objectives if name in numbers)
        run.detail(f"{label}: {', '.join(told)}")
        return numbers

    if workers.count(config) > 1 and (config.sweeps.sampler is not Sampler.grid or study.missing()):
        workers.start(config, run, study, lambda cell: params_of(cell_config(config, run, cell)))
    work(study, one)
    if world_size() > 1:
        _told(run, None)
    found = outcomes(study)
    if workers.is_worker():
        return {"cells": float(len(found))}
    if not any(outcome.numbers and not outcome.beaten for outcome in found):
        raise UserError(f"every cell of sweeps={config.sweeps.name} failed; see run.log")
    finding = find(config, found)
    tell(config, run, study, finding)
    numbers = plain(finding.best.numbers)
    made = sum(outcome.numbers.get("images", 0) for outcome in found)
    return {f"best.{name}": value for name, value in numbers.items()} | {
        "cells": float(len(found)),
        "new_cells": float(sum(outcome.new and bool(outcome.numbers) for outcome in found)),
        "images": float(made),
    }


def _told(run: Run, cell: Optional[Cell]) -> Optional[Cell]:
    """The cell that the main process measures next, in every process; None when there is none left."""
    from accelerate.utils import broadcast_object_list

    told: list[Optional[Cell]] = broadcast_object_list([cell])
    return told[0]
