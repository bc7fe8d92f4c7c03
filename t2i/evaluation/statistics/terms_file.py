"""What the numbers of one evaluation are made of, as one `.npz` file: all that a comparison needs, without a network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from t2i.evaluation.statistics.terms import ARRAYS, Terms, Units

PLAIN = ("value", "scale", "lowest", "highest", "samples")
LATER = ("alone",)
"""Fields that came later: written where they are set."""


def save(path: Path, terms: Mapping[str, Terms], units: Units) -> None:
    """Write the terms of every number, by its name, and which images belong together."""
    arrays = {
        f"{number}.{name}": values
        for number, own in enumerate(terms.values())
        for name in ARRAYS
        if (values := getattr(own, name)) is not None
    }
    arrays |= {
        f"units.{side}": labels for side in ("generated", "reference") if (labels := getattr(units, side)) is not None
    }
    about = [{"name": key, **_plain(own)} for key, own in terms.items()]
    np.savez(path, about=np.array(json.dumps(about)), **arrays)


def load(path: Path) -> tuple[dict[str, Terms], Units]:
    """What `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    found = {}
    for number, own in enumerate(json.loads(str(arrays["about"]))):
        plain: dict[str, Any] = {name: _number(own[name]) for name in (*PLAIN, *LATER) if name in own}
        found[own["name"]] = Terms(
            **plain, **{name: arrays[f"{number}.{name}"] for name in ARRAYS if f"{number}.{name}" in arrays}
        )
    return found, Units(arrays.get("units.generated"), arrays.get("units.reference"))


def plain(own: Terms, units: Units) -> dict[str, Any]:
    """One number's terms, with seven digits, in a form that JSON holds: for a study in a database."""
    arrays = {name: values for name in ARRAYS if (values := getattr(own, name)) is not None}
    arrays |= {
        f"units.{side}": labels for side in ("generated", "reference") if (labels := getattr(units, side)) is not None
    }
    return _plain(own) | {
        name: [None if value != value else float(f"{value:.7g}") for value in values.tolist()]
        for name, values in arrays.items()
    }


def restored(found: Mapping[str, Any]) -> tuple[Terms, Units]:
    """What `plain` gave."""
    arrays: dict[str, Any] = {
        name: np.array([np.nan if value is None else value for value in found[name]], dtype=np.float64)
        for name in ARRAYS
        if name in found
    }
    sides = [found.get(f"units.{side}") for side in ("generated", "reference")]
    labels = [None if side is None else np.array(side, dtype=np.int64) for side in sides]
    numbers: dict[str, Any] = {name: _number(found[name]) for name in (*PLAIN, *LATER) if name in found}
    return Terms(**numbers, **arrays), Units(*labels)


def _plain(own: Terms) -> dict[str, Any]:
    """The fields that are no arrays, as JSON values."""
    found = {name: _word(getattr(own, name)) for name in PLAIN}
    return found | {name: value for name in LATER if (value := getattr(own, name))}


def _word(value: float | int | None) -> float | int | str | None:
    """JSON has no infinity."""
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _number(value: float | int | str | None) -> float | int | None:
    return float(value) if isinstance(value, str) else value
