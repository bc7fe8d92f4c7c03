"""Search spaces: lists, ranges and conditions, as a grid of cells or as what a sampler suggests."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from t2i.errors import ConfigError

if TYPE_CHECKING:
    from optuna import Trial

Cell = dict[str, Any]
"""Override to its value."""


@dataclass(frozen=True)
class Dimension:
    """One override of a space: `values` to choose from, or a range."""

    key: str
    values: Optional[list[Any]]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    when: Optional[dict[str, list[Any]]] = None
    """Values of other dimensions under which this one exists; None: always."""

    def exists(self, cell: Mapping[str, Any]) -> bool:
        """Whether a cell with these values of the dimensions before has this one too."""
        return all(cell.get(key) in allowed for key, allowed in (self.when or {}).items())

    def suggest(self, trial: "Trial") -> Any:
        """The value of this dimension in a trial."""
        if self.values is not None:
            return trial.suggest_categorical(self.key, self.values)
        if self.whole:
            return trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, log=self.log)


def dimensions(space: Mapping[str, Any]) -> list[Dimension]:
    """The dimensions, those that others depend on first. Raises ConfigError for what is neither list nor range."""
    if not space:
        raise ConfigError("sweeps.space is empty; use e.g. sweeps=scheduler_cfg")
    pending = {key: _dimension(key, value, space) for key, value in space.items()}
    ordered: list[Dimension] = []
    while pending:
        ready = [d for d in pending.values() if not set(d.when or {}) & set(pending)]
        if not ready:
            raise ConfigError(f"sweeps.space: {' and '.join(pending)} depend on each other; remove a `when`")
        for dimension in ready:
            ordered.append(pending.pop(dimension.key))
    return ordered


def _dimension(key: str, value: Any, space: Mapping[str, Any]) -> Dimension:
    if isinstance(value, list) and value:
        return Dimension(key, value)
    fault = ConfigError(
        f"sweeps.space.{key} is {value!r}, not a list of values; use e.g. sweeps.space.cfg.scale=[5,7.5], "
        "or {low: 1e-5, high: 1e-3, log: true}"
    )
    if not isinstance(value, Mapping):
        raise fault
    known = {"values", "low", "high", "log", "int", "when"}
    if set(value) - known:
        raise ConfigError(f"sweeps.space.{key} holds {min(set(value) - known)}; valid: {', '.join(sorted(known))}")
    when = {
        name: allowed if isinstance(allowed, list) else [allowed] for name, allowed in value.get("when", {}).items()
    }
    for name in when:
        if name not in space:
            raise ConfigError(f"sweeps.space.{key} depends on {name}, which is no key of the space; add it")
    if "values" in value:
        if not isinstance(value["values"], list) or not value["values"]:
            raise fault
        return Dimension(key, list(value["values"]), when=when or None)
    low, high, log = value.get("low"), value.get("high"), bool(value.get("log", False))
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not low < high or (log and low <= 0):
        raise ConfigError(
            f"sweeps.space.{key} needs low below high (and above 0 with log: true); use e.g. {{low: 1, high: 15}}"
        )
    return Dimension(key, None, low, high, log, bool(value.get("int", False)), when or None)


def cells(space: Mapping[str, Any]) -> list[Cell]:
    """Every combination of lists, in the order of the space's keys, the last varying fastest; each once."""
    found = dimensions(space)
    result: dict[str, Cell] = {}
    by_key = {dimension.key: dimension for dimension in found}
    choices = [by_key[key].values or [] for key in space]
    for values in itertools.product(*choices):
        given = dict(zip(space, values, strict=True))
        cell: Cell = {}
        for dimension in found:
            if dimension.exists(cell):
                cell[dimension.key] = given[dimension.key]
        result.setdefault(key_of(cell), {key: cell[key] for key in space if key in cell})
    return list(result.values())


def suggest(found: list[Dimension], trial: "Trial") -> Cell:
    """The cell of a trial: its dimensions in order, those that do not exist there left out."""
    cell: Cell = {}
    for dimension in found:
        if dimension.exists(cell):
            cell[dimension.key] = dimension.suggest(trial)
    return cell


def key_of(cell: Mapping[str, Any]) -> str:
    """The same text for the same cell."""
    return json.dumps(cell, sort_keys=True)
