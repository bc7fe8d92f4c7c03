"""Every figure of the project by name, and the border that each of them passes.

A figure takes plain arrays, texts and numbers and the path of a PNG, writes it, and returns the path. Whoever keeps figures
(`kept_by`) is asked first: what was drawn from the same before is not drawn again, and then no library that draws is imported.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2i.reporting.before_after import before_after
    from t2i.reporting.blend import blend_curves
    from t2i.reporting.changes import changes
    from t2i.reporting.columns import column_comparison
    from t2i.reporting.comparisons import similarity_histogram
    from t2i.reporting.curves import loss_curve, training_resources
    from t2i.reporting.drift import drift_matrix
    from t2i.reporting.exploration import (
        caption_lengths,
        captions_per_picture,
        pictures_by_group,
        source_sizes,
        word_frequencies,
    )
    from t2i.reporting.gains import gains
    from t2i.reporting.grids import base_versus_tuned, cell_grid, rows_of_pictures, sample_grid
    from t2i.reporting.heat_map import heat_map
    from t2i.reporting.loss_and_samples import loss_and_samples
    from t2i.reporting.matrix import matrices
    from t2i.reporting.progress import samples_over_training
    from t2i.reporting.projection import projection
    from t2i.reporting.search import effects, front
    from t2i.reporting.sheets import contact_sheet, picture_pairs
    from t2i.reporting.tracks import metrics_over_steps

__all__ = [
    "base_versus_tuned",
    "before_after",
    "blend_curves",
    "caption_lengths",
    "captions_per_picture",
    "cell_grid",
    "changes",
    "column_comparison",
    "contact_sheet",
    "drift_matrix",
    "effects",
    "front",
    "gains",
    "heat_map",
    "loss_and_samples",
    "loss_curve",
    "matrices",
    "metrics_over_steps",
    "picture_pairs",
    "pictures_by_group",
    "projection",
    "rows_of_pictures",
    "sample_grid",
    "samples_over_training",
    "similarity_histogram",
    "source_sizes",
    "training_resources",
    "word_frequencies",
]

MODULES: Mapping[str, Sequence[str]] = {
    "before_after": ["before_after"],
    "blend": ["blend_curves"],
    "changes": ["changes"],
    "columns": ["column_comparison"],
    "comparisons": ["similarity_histogram"],
    "curves": ["loss_curve", "training_resources"],
    "drift": ["drift_matrix"],
    "exploration": [
        *("caption_lengths", "captions_per_picture", "pictures_by_group", "source_sizes", "word_frequencies"),
    ],
    "gains": ["gains"],
    "grids": ["base_versus_tuned", "cell_grid", "rows_of_pictures", "sample_grid"],
    "heat_map": ["heat_map"],
    "loss_and_samples": ["loss_and_samples"],
    "matrix": ["matrices"],
    "progress": ["samples_over_training"],
    "projection": ["projection"],
    "search": ["effects", "front"],
    "sheets": ["contact_sheet", "picture_pairs"],
    "tracks": ["metrics_over_steps"],
}
"""Where each figure is drawn."""
_HOME = {figure: module for module, figures in MODULES.items() for figure in figures}


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure that somebody asks for: its name and what it is drawn from, which is all but the path."""

    name: str
    arguments: tuple[Any, ...]
    """With the path still among them."""
    options: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Where it is asked for: the one path among the arguments."""
        (path,) = (value for value in (*self.arguments, *self.options.values()) if isinstance(value, Path))
        return path

    @property
    def digest(self) -> str:
        """Of what it is drawn from; TypeError for a value that has none."""
        seen = hashlib.sha256()
        _feed(seen, ["" if isinstance(value, Path) else value for value in self.arguments])
        _feed(seen, {key: "" if isinstance(value, Path) else value for key, value in sorted(self.options.items())})
        return seen.hexdigest()

    @property
    def texts(self) -> str:
        """Every text that it shows, and no order."""
        return "".join(_texts([self.arguments, self.options]))

    def draw(self, path: Path) -> Path:
        """The figure in this file; the libraries that draw are imported now."""
        function: Callable[..., Path] = getattr(importlib.import_module(f"t2i.reporting.{_HOME[self.name]}"), self.name)
        arguments = [path if isinstance(value, Path) else value for value in self.arguments]
        options = {key: path if isinstance(value, Path) else value for key, value in self.options.items()}
        return function(*arguments, **options)


Keeper = Callable[[Drawing], Path]
"""Puts a figure where it is asked for, drawing it if need be, and returns the path."""
_keeper: ContextVar[Keeper] = ContextVar("_keeper")


@contextmanager
def kept_by(keeper: Keeper) -> Iterator[None]:
    """Figures that are asked for inside go through `keeper`; outside they are drawn."""
    token = _keeper.set(keeper)
    try:
        yield
    finally:
        _keeper.reset(token)


def _ask(name: str) -> Callable[..., Path]:
    def figure(*arguments: Any, **options: Any) -> Path:
        drawing = Drawing(name, arguments, options)
        keeper = _keeper.get(None)
        return keeper(drawing) if keeper else drawing.draw(drawing.path)

    return figure


def __getattr__(name: str) -> Callable[..., Path]:
    if name not in _HOME:
        raise AttributeError(f"there is no figure {name}")
    return _ask(name)


def _feed(seen: Any, value: Any) -> None:
    """Add a value to a digest, its type with it: 1 and 1.0 may be written in two ways."""
    import numpy as np

    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        seen.update(f"array {value.dtype.str} {value.shape}\n".encode())
        seen.update(np.ascontiguousarray(value).tobytes())
    elif value is None or isinstance(value, (bool, int, float, str)):
        seen.update(f"{type(value).__name__} {value!r}\n".encode("utf-8", "surrogatepass"))
    elif is_dataclass(value) and not isinstance(value, type):
        _feed(seen, [type(value).__name__, *(getattr(value, field.name) for field in fields(value))])
    elif isinstance(value, Mapping):
        _feed(seen, [[key, own] for key, own in value.items()])
    elif isinstance(value, Sequence):
        seen.update(f"list {len(value)}\n".encode())
        for own in value:
            _feed(seen, own)
    else:
        raise TypeError(f"a figure is drawn from a {type(value).__name__}, of which there is no digest")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value, *value.values()])
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _texts([getattr(value, field.name) for field in fields(value)])
    elif isinstance(value, (list, tuple)):
        for own in value:
            yield from _texts(own)
