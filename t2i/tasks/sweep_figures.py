"""What a sweep shows: a heat map per metric, one picture per cell, a table, and which cells cannot be told apart."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t2i.config import Config
from t2i.context import Run
from t2i.sweeps.config import Direction
from t2i.tasks.evaluate import Measured, metrics_table

Cell = tuple[dict[str, Any], dict[str, float]]


@dataclass(frozen=True)
class Finding:
    """Every cell in grid order with its numbers (none when it failed), the best one, and how many were new."""

    results: list[Cell]
    best: Cell
    pictures: list[Measured]
    new: int


def tell(config: Config, run: Run, finding: Finding) -> None:
    """Add the sweep to the run's story: table, figures, and the best setting as a command line to paste."""
    metric = config.sweeps.metric
    cell, numbers = finding.best
    settings = {key: value for key, value in {**config.sweeps.fixed, **cell}.items() if not key.startswith("eval.")}
    command = " ".join(f"{key}={value}" for key, value in settings.items())
    tied = overlapping(finding, metric, config.sweeps.direction)
    verdict = (
        f"The intervals of {tied} other cells overlap it: this many pictures cannot tell them apart."
        if tied
        else "No other cell's interval overlaps it."
    )
    text = f"{len(finding.results)} cells ({finding.new} new): best {metric} = {numbers[metric]:.3f} with `{command}`. {verdict}"
    run.section("Sweep", text, [table(finding)], figures(config, run, finding), best=command)
    run.say(text)


def overlapping(finding: Finding, metric: str, direction: Direction) -> int:
    """How many other cells have an interval that reaches into the best one's."""
    best = finding.best[1]
    near, far = (".low", ".high") if direction is Direction.maximize else (".high", ".low")
    edge = best.get(metric + near, best[metric])
    others = [numbers for _, numbers in finding.results if numbers and numbers is not best]
    reaches = [numbers.get(metric + far, numbers[metric]) for numbers in others]
    return sum(reach >= edge if direction is Direction.maximize else reach <= edge for reach in reaches)


def table(finding: Finding) -> dict[str, Any]:
    """One row a cell, one column a metric, each with its interval."""
    heads = [row[0] for row in metrics_table({"value": finding.best[1]})["rows"]]
    rows = []
    for cell, numbers in finding.results:
        values = [row[1] for row in metrics_table({"value": numbers})["rows"]] if numbers else ["failed"] * len(heads)
        rows.append([*map(str, cell.values()), *values])
    return {"columns": [*finding.best[0], *heads], "rows": rows, "caption": "Every cell: value and 95 % interval."}


def figures(config: Config, run: Run, finding: Finding) -> list[tuple[Path, str]]:
    """Heat maps and a grid of pictures, for spaces of one or two dimensions."""
    from t2i.reporting.figures import cell_grid, heat_map

    space = config.sweeps.space
    if len(space) > 2:
        return []
    *upper, last = space
    rows = [str(value) for value in space[upper[0]]] if upper else [config.sweeps.name]
    columns = [f"{last}={value}" for value in space[last]]
    shape = (len(rows), len(columns))
    count = config.sweeps.fixed.get("eval.images", config.eval.images)
    shown = {config.sweeps.metric: config.sweeps.direction is Direction.maximize}
    shown |= {name: False for name in finding.best[1] if name.startswith("fid[") and name.endswith("]")}
    made = []
    for name, higher in shown.items():
        value, low, high = (
            np.array([numbers.get(name + end, math.nan) for _, numbers in finding.results]).reshape(shape)
            for end in ("", ".low", ".high")
        )
        path = run.figures() / f"heat_map_{name.split('[')[0]}.png"
        heat_map(rows, columns, value, path, f"{name} by {' and '.join(space)}", name, higher, low, high)
        made.append((path, f"{name} in every cell, {count} pictures a cell, with 95 % intervals."))
    if all(numbers for _, numbers in finding.results):
        first = [measured.pictures(1)[0] for measured in finding.pictures]
        grid = np.stack(first).reshape(*shape, *first[0].shape)
        path = run.figures() / "cell_grid.png"
        cell_grid(rows, columns, grid, path, "The same caption and seed in every cell")
        made.append((path, "The first held-out caption, with one seed, in every cell."))
    return made
