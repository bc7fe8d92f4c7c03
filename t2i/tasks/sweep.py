"""`task=sweep`: the same captions and seeds in every cell of a grid, and which cell is best."""

import math
from pathlib import Path
from typing import Any, Optional

from t2i.config import Config, as_dict, compose
from t2i.context import Run, flat
from t2i.errors import UserError
from t2i.models import source
from t2i.store import digest_of
from t2i.sweeps.config import Direction
from t2i.tasks.evaluate import measure, metrics_table
from t2i.tasks.shared import Tuned, captions_of, find_tuned, generated_set, prepared, read_pictures


def sweep(config: Config, run: Run, tuned: Optional[Tuned] = None) -> dict[str, float]:
    """Returns the best cell's metrics; leaves heat maps and a grid of pictures. Cells that are done are not done again."""
    from t2i.sweeps.driver import Cell, run_grid

    tuned = tuned or find_tuned(config, run)
    data, _ = prepared(config, run)
    identity = {
        "model": source.digest(config.model, run.store),
        "weights": tuned.digest if tuned else "",
        "data": data.digest,
        "fixed": as_dict(config.sweeps.fixed),
        "eval": as_dict(config.eval),
        "seed": config.seed,
    }
    storage = config.sweeps.storage or f"sqlite:///{Path(config.outputs) / 'sweeps.db'}"
    configurations: list[Config] = []
    children: list[str] = []

    def measure_cell(cell: Cell, known: bool) -> dict[str, float]:
        own = cell_config(config, run, cell)
        configurations.append(own)
        result = measure(own, run, tuned)
        label = ", ".join(f"{key}={value}" for key, value in cell.items())
        if run.main and not known:
            with run.tracker.child(f"cell {label}") as child:
                child.params(flat(as_dict(own)))
                child.metrics(result.metrics)
            children.append(label)
        run.say(f"{label}: {config.sweeps.metric} = {result.metrics[config.sweeps.metric]:.3f}{' (known)' if known else ''}")
        return result.metrics

    if run.main:
        results = run_grid(config.sweeps, storage, f"{config.sweeps.name}-{digest_of(identity)[:12]}", measure_cell)
    else:  # the study belongs to the main process; the others help it to generate
        from t2i.sweeps.driver import cells

        results = [(cell, measure_cell(cell, True)) for cell in cells(config.sweeps.space)]
    measured = [(cell, metrics) for cell, metrics in results if metrics]
    if not measured:
        raise UserError(f"every cell of sweeps={config.sweeps.name} failed; see run.log")
    sign = 1 if config.sweeps.direction is Direction.maximize else -1
    best, numbers = max(measured, key=lambda item: sign * item[1][config.sweeps.metric])
    if run.main:
        _tell(config, run, results, best, numbers, configurations, tuned, len(children))
    return {f"best.{key}": value for key, value in numbers.items()} | {"cells": float(len(results)), "new_cells": float(len(children))}


def cell_config(config: Config, run: Run, cell: dict[str, Any]) -> Config:
    """The run's own command line with the fixed settings of the sweep and the values of one cell on top."""
    changes = {**config.sweeps.fixed, **cell}
    # Groups come before keys inside them, or a group would overwrite the key.
    ordered = sorted(changes.items(), key=lambda item: "." in item[0])
    own = compose([*run.overrides, *(f"{key}={value}" for key, value in ordered)])
    own.outputs, own.launch = config.outputs, config.launch
    own.dataset = config.dataset
    own.validate()
    return own


def _tell(config, run, results, best, numbers, configurations, tuned, new) -> None:  # type: ignore[no-untyped-def]
    import numpy as np

    from t2i.reporting.figures import cell_grid, heat_map

    space = config.sweeps.space
    names = list(space)
    metric = config.sweeps.metric
    command = " ".join(f"{key}={value}" for key, value in {**config.sweeps.fixed, **best}.items() if not key.startswith("eval."))
    figures = []
    if len(names) <= 2:
        rows = [f"{value}" for value in space[names[0]]] if len(names) == 2 else [config.sweeps.name]
        columns = [f"{names[-1]}={value}" for value in space[names[-1]]]
        shape = (len(rows), len(columns))

        def table(suffix: str = "", key: str = metric):  # type: ignore[no-untyped-def]
            return np.array([m.get(key + suffix, math.nan) for _, m in results]).reshape(shape)

        higher = config.sweeps.direction is Direction.maximize
        shown = [(metric, higher)] + [(k, False) for k in ("fid[tiny_clip]", "fid[clip]") if any(k in m for _, m in results) and k != metric]
        for key, up in shown:
            path = run.figures() / f"heat_map_{key.split('[')[0]}.png"
            heat_map(rows, columns, table("", key), path, f"{key} by {' and '.join(names)}", key, up, table(".low", key), table(".high", key))
            figures.append((path, f"{key} in every cell, {config.sweeps.fixed.get('eval.images', config.eval.images)} pictures a cell, with 95 % intervals."))
        if not any(not m for _, m in results):
            pictures = [read_pictures(_pictures_of(c, run, tuned), 1)[0] for c in configurations]
            grid = np.stack(pictures).reshape(*shape, *pictures[0].shape)
            path = cell_grid(rows, columns, grid, run.figures() / "scheduler_guidance_grid.png", "The same caption and seed in every cell")
            figures.append((path, "The first caption of the held-out pictures, one seed, in every cell."))
    rows_ = [[*map(str, cell.values()), *(row[1] for row in metrics_table({"v": m})["rows"])] if m else [*map(str, cell.values())] for cell, m in results]
    heads = [row[0] for row in metrics_table({"v": numbers})["rows"]]
    rows_ = [row + ["failed"] * (len(names) + len(heads) - len(row)) for row in rows_]
    tied = _tied(results, numbers, metric, config.sweeps.direction)
    text = (
        f"{len(results)} cells ({new} new): best {metric} = {numbers[metric]:.3f} with `{command}`. "
        + (f"{tied} other cells have intervals that overlap it: this many pictures cannot tell them apart." if tied else "No other interval overlaps it.")
    )
    run.section(
        "Sweep", text, [{"columns": [*names, *heads], "rows": rows_, "caption": "Every cell: value and 95 % interval."}], figures, best=command
    )
    run.say(text)


def _pictures_of(config: Config, run: Run, tuned: Optional[Tuned]) -> Path:
    _, data = prepared(config, run)
    return generated_set(config, run, captions_of(data, config.eval.images), tuned).path


def _tied(results: list[tuple[dict[str, Any], dict[str, float]]], best: dict[str, float], metric: str, direction: Direction) -> int:
    """How many other cells have an interval that reaches into the best one's."""
    low, high = best.get(f"{metric}.low", best[metric]), best.get(f"{metric}.high", best[metric])
    others = [m for _, m in results if m and m is not best]
    if direction is Direction.maximize:
        return sum(m.get(f"{metric}.high", m[metric]) >= low for m in others)
    return sum(m.get(f"{metric}.low", m[metric]) <= high for m in others)
