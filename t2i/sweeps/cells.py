"""What a cell of a sweep is: the configuration that a run of its own would have, its weights, and what it is known by."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Optional

from t2i import identity
from t2i.config import Config, Task, as_dict, as_override, composed
from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.evaluation.suites import geneval, subjects
from t2i.evaluation.suites.scenes import VERSION
from t2i.messages import explain
from t2i.stages import composition, geneval_prompts, held_out_loss, reference, references
from t2i.stages.composition import Composition
from t2i.stages.generated import Generated
from t2i.stages.geneval_prompts import GenevalPrompts
from t2i.stages.held_out_loss import HeldOutLoss
from t2i.stages.metrics import Metrics
from t2i.stages.networks import model_digest
from t2i.stages.prepared import Prepared
from t2i.stages.stage import made
from t2i.stages.subject import SubjectFeatures, asked
from t2i.stages.training import Trained, Training, start_digest
from t2i.stages.tuned import find_tuned
from t2i.stages.weights import Given, Weights
from t2i.store import digest_of
from t2i.sweeps.config import Sampler
from t2i.sweeps.space import Cell, Dimension, cells, key_of

RECORD = 2
"""Version of what a study keeps of a cell beside its numbers."""


def cell_config(config: Config, run: Run, cell: Cell) -> Config:
    """The configuration of a run with the fixed settings of the sweep and the values of one cell.

    Raises ConfigError for values that no run could use.
    """
    own = _composed(config, run, cell)
    own.validate()
    return own


def _composed(config: Config, run: Run, cell: Cell) -> Config:
    changes = {**config.sweeps.fixed, **cell}

    def make() -> Config:
        try:
            own = composed(config, changes, run.overrides)
        except UserError:
            raise
        except Exception as error:  # of Hydra and OmegaConf
            raise explain(error, [as_override(key, value) for key, value in changes.items()]) from error
        # Of a training in a cell only the weights are used.
        return replace(own, training=replace(own.training, export_pipeline=False))

    return run.kept("cell", [as_dict(config), run.overrides, changes], make)


def cell_trains(config: Config, cell: Cell) -> bool:
    """Whether a cell has a training of its own."""
    return identity.trains({**config.sweeps.fixed, **cell})


def weights_of(config: Config, run: Run, cell: Cell) -> Weights:
    """Those of a cell: of a training of its own, where it has one."""
    own = cell_config(config, run, cell)
    return Trained(Training(own)) if cell_trains(config, cell) else Given(own)


class Identities:
    """What cells are known by: everything that their numbers hang on, with the digests of the files behind it.

    To be asked in the same order in every process, since data may have to be prepared.
    """

    def __init__(self, config: Config, run: Run) -> None:
        self._config, self._run = config, run
        self._known: dict[str, str] = {}

    def __call__(self, cell: Cell) -> str:
        """Of a cell that no run could have: the reason."""
        key = key_of(cell)
        if key not in self._known:
            try:
                self._known[key] = digest_of(self.facts(cell))[:32]
            except UserError as error:
                self._known[key] = str(error)
        return self._known[key]

    def facts(self, cell: Cell) -> dict[str, Any]:
        """Raises UserError for a cell that no run could have."""
        from t2i.evaluation.extractors import judges
        from t2i.evaluation.extractors import registry as extractors

        run, own = self._run, cell_config(self._config, self._run, cell)
        slices = {"pictures": identity.pictures(own), "numbers": identity.numbers(own)}
        versions: list[int | str] = [
            Generated.version,
            Metrics.version,
            reference.Reference.version,
            RECORD,
            *_further(own),
        ]
        found: dict[str, Any] = {
            "data": made(Prepared(own), run).digest,
            "model": model_digest(own, run),
            "evaluators": extractors.digests(own.eval),
            **judges.digests(own.eval),
            "reference": references.identity_of(own, run),
            "trained on": own.training.images,
        }
        if cell_trains(self._config, cell):
            start = start_digest(own) if identity.start_of(own) else None
            found |= {"trained": [identity.trained(own), own.strategy.inputs(), start, Training.version]}
        else:
            tuned = find_tuned(own, run)
            found |= {"weights": tuned.digest if tuned else None}
        return {**found, **slices, "versions": versions}


def _further(own: Config) -> list[str]:
    """Versions of what only some metrics read."""
    read = {
        held_out_loss.METRIC: f"loss {HeldOutLoss.version}",
        composition.METRIC: f"suite {VERSION}, {Composition.version}",
        geneval_prompts.METRIC: f"geneval {geneval.VERSION}, {GenevalPrompts.version}",
    }
    found = [version for name, version in read.items() if name in own.eval.metrics]
    return [*found, f"subject {subjects.VERSION}, {SubjectFeatures.version}"] if asked(own) else found


def study_name(config: Config, run: Run, known: Identities) -> str:
    """One Optuna study for everything that the cells have in common: the space itself may grow.

    A name alone decides nothing: what a cell is known by is kept beside its numbers.
    """
    try:
        facts = known.facts({})
    except UserError as error:  # a fixed setting may need the values of a cell
        facts = {"error": str(error), "fixed": as_dict(config.sweeps.fixed)}
    if config.sweeps.budget is not None and "numbers" in facts:  # says how many pictures, once and for all
        facts["numbers"]["images"] = config.sweeps.budget
    trained = identity.trains({**config.sweeps.fixed, **config.sweeps.space})
    return f"{config.sweeps.name}-{digest_of([facts, trained])[:12]}"


def require_read(config: Config, run: Run) -> None:
    """ConfigError for a key of the space or of `fixed` that no number of a cell hangs on, or that contradicts another."""
    space, fixed = config.sweeps.space, config.sweeps.fixed
    for part, keys in (("space", space), ("fixed", fixed)):
        for key in keys:
            if identity.top(key) not in identity.OF_A_CELL:
                raise ConfigError(
                    f"sweeps.{part}.{key} is no key that a cell reads; use keys of {', '.join(identity.OF_A_CELL)}, and type "
                    "others for the whole sweep"
                )
    changed = {**fixed, **space}
    given = {"weights", "weights_scale"} & changed.keys() or (config.task is Task.sweep and config.weights is not None)
    if given and identity.trains(changed):
        raise ConfigError(
            "cells with keys of strategy or training train their own weights, and weights= gives others: remove one of both"
        )
    if config.sweeps.reference is not None and ("eval.reference" in changed or config.eval.reference != "held_out"):
        raise ConfigError(
            f"sweeps.reference={config.sweeps.reference} and eval.reference are two references: type sweeps.reference=null "
            "for that of eval.reference"
        )
    for dimension in config.sweeps.dimensions():
        _require_acting(config, run, dimension)


def _require_acting(config: Config, run: Run, dimension: Dimension) -> None:
    """ConfigError when no value of a dimension makes a cell another one, or when no cell can have the key."""
    values = dimension.values or [int(end) if dimension.whole else end for end in (dimension.low, dimension.high)]
    trains = identity.trains({**config.sweeps.fixed, **config.sweeps.space})
    fault: Optional[ConfigError] = None
    for around in _surroundings(config, dimension):
        try:
            made = [identity.cell(_composed(config, run, {**around, dimension.key: value}), trains) for value in values]
        except ConfigError as error:
            fault = fault or error
            continue
        distinct = {digest_of(as_dict(value)) for value in values}
        if len(distinct) > 1 and all(own == made[0] for own in made):
            why = identity.NO_RESULT.get(dimension.key.lstrip("+"), "nothing that is measured reads it")
            raise ConfigError(
                f"sweeps.space.{dimension.key}: its values change no number of a cell ({why}); remove it, or type one of them "
                "for the whole sweep"
            )
        return
    if fault is not None:
        raise fault


def _surroundings(config: Config, dimension: Dimension) -> list[Cell]:
    """Cells without the dimension in which it may exist."""
    space: Mapping[str, Any] = config.sweeps.space
    lists = {key: values for key, values in space.items() if key != dimension.key and isinstance(values, list)}
    conditions = dimension.when or {}
    wanted = {key: [v for v in conditions.get(key, values) if v in values] for key, values in lists.items()}
    groups = {key: values for key, values in wanted.items() if values and (key in conditions or "." not in key)}
    around = cells(groups) if groups else []
    return around if conditions else [{}, *around]


def grid_cells(config: Config) -> list[Cell]:
    """The cells of a grid; none of another sampler, which chooses them while it goes."""
    return cells(config.sweeps.space)[: config.sweeps.trials] if config.sweeps.sampler is Sampler.grid else []


def grid_size(config: Config) -> int:
    """How many cells the sweep will try."""
    whole = len(cells(config.sweeps.space)) if config.sweeps.sampler is Sampler.grid else math.inf
    return int(min(whole, config.sweeps.trials or whole))
