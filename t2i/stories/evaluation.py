"""The numbers of an evaluated model: their table and their definition."""

import json
from collections.abc import Mapping
from typing import Any

from t2i.config import Config
from t2i.context import Run
from t2i.evaluation.config import HELD_OUT
from t2i.stages.evaluated import note
from t2i.stages.metrics import Measured
from t2i.stories.subject import answer, subject_table


def tell(config: Config, run: Run, name: str, measured: Measured) -> None:
    """name: base or tuned."""
    result = measured.result
    if not run.main:
        return
    note(run, {name: measured})
    (run.folder / "definition.json").write_text(json.dumps(result.definition, indent=2), encoding="utf-8")
    real = config.eval.reference == HELD_OUT
    table = metrics_table({"value": result.metrics})
    told, shown = answer({name: result.metrics}), subject_table({name: result.metrics})
    run.section(
        "Evaluation",
        f"{told} {name.capitalize()} model, {result.definition['generated_count']} pictures against "
        f"{result.definition['reference_count']} {'real held-out ones' if real else _drawn(config)}.".strip(),
        [table, *([shown] if shown else [])],
    )
    for row in table["rows"]:
        run.say(f"{row[0]:<32} {row[1]}")
    for metric, reason in result.skipped.items():
        run.say(f"{metric:<32} not measured: {reason}")
    if told:
        run.say(told)


BESIDE = (".real", ".chance")
"""Ends of the names of numbers that another one is read against."""


def beside(metrics: Mapping[str, float], name: str) -> str:
    """` (real pictures 0.97 [0.87, 0.99], chance 0.11)`: what a number is read against; empty for most."""
    from t2i.reporting.numbers import number

    real, chance = (f"{name}{end}" for end in BESIDE)
    told = []
    if real in metrics:
        told.append(f"real pictures {number(metrics[real], metrics.get(f'{real}.low'), metrics.get(f'{real}.high'))}")
    if chance in metrics:
        told.append(f"chance {number(metrics[chance])}")
    return f" ({', '.join(told)})" if told else ""


def _drawn(config: Config) -> str:
    return f"generated ones of {config.eval.reference}"


def metrics_table(columns: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Metrics with intervals as a table: one row a metric, one column a model; of one model the world's intervals too."""
    from t2i.reporting.numbers import number

    first = next(iter(columns.values()))
    names = [name for name in first if not name.endswith((".low", ".high", *BESIDE))]
    alone = len(columns) == 1 and any(name.endswith(".world.low") for name in first)

    def shown(metrics: dict[str, float], name: str, end: str = "") -> str:
        low, high = metrics.get(f"{name}{end}.low"), metrics.get(f"{name}{end}.high")
        return "" if end and low is None else number(metrics[name], low, high) + ("" if end else beside(metrics, name))

    return {
        "columns": ["metric", *columns, *(["for the world"] if alone else [])],
        "rows": [
            [
                name,
                *(shown(metrics, name) for metrics in columns.values()),
                *([shown(first, name, ".world")] if alone else []),
            ]
            for name in names
        ],
        "caption": "Value and 95 % interval: for this reference"
        + ("; the last column for the world. " if alone else ". ")
        + "The bracket names the feature extractor: a number from another extractor (such as the Inception FID of papers) is "
        "another quantity.",
    }
