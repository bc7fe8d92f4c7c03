"""`task=drift runs=[<run>,...] dataset.domains=[animal,food]`: what tuning on one domain does to the others.

Each run's tuned model draws held-out captions of each domain, with the seeds of the base model, and what is shown is the
change of the CLIP score: the diagonal is what was wanted, the rest is what it cost.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.tasks.evaluate import Measured, measure
from t2i.tasks.shared import Tuned, find_tuned

METRICS = ["clip_score"]


def drift(config: Config, run: Run) -> dict[str, float]:
    """Returns `<tuned on>/<tested on>` with its interval for every run and domain; leaves a table and a heat map.

    Raises ConfigError without runs, with fewer than two domains, or when a domain has too few held-out captions.
    """
    import numpy as np

    from t2i.evaluation.paired import PairedDifference, holm, paired_difference

    domains = list(config.dataset.domains)
    if not config.runs or len(domains) < 2:
        raise ConfigError(
            f"task=drift has {len(config.runs)} runs and {len(domains)} domains; type runs=[<tuned run>,...] and "
            "dataset.domains=[<domain>,<domain>]"
        )
    tuned = _tuned(config, run)
    found: list[list[PairedDifference]] = [[] for _ in tuned]
    for domain in domains:
        own = replace(
            config, dataset=replace(config.dataset, domains=[domain]), eval=replace(config.eval, metrics=METRICS)
        )
        base = _scores(measure(own, run, None))
        for row, (_, weights) in zip(found, tuned, strict=True):
            scores = _scores(measure(own, run, weights))
            row.append(paired_difference(base, scores, config.eval.seed, config.eval.replicates))
    adjusted = holm([cell.p for row in found for cell in row]).reshape(len(tuned), len(domains))
    names = [name for name, _ in tuned]
    if run.main:
        _section(config, run, names, domains, found, np.asarray(adjusted))
    numbers: dict[str, float] = {}
    for name, row in zip(names, found, strict=True):
        for domain, cell in zip(domains, row, strict=True):
            key, change = f"{name}/{domain}", cell.difference
            numbers |= {key: change.value, f"{key}.low": change.low, f"{key}.high": change.high}
    return numbers


def _tuned(config: Config, run: Run) -> list[tuple[str, Tuned]]:
    """The weights of each run, named for the domains that it was tuned on."""
    import yaml

    found: list[tuple[str, Tuned]] = []
    for folder in config.runs:
        weights = find_tuned(replace(config, weights=folder), run)
        assert weights is not None
        path = Path(folder).expanduser() / "config.yaml"
        values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        name = "+".join(values.get("dataset", {}).get("domains", [])) or Path(folder).name
        found.append((name if name not in dict(found) else f"{name} ({len(found) + 1})", weights))
    return found


def _scores(measured: Measured) -> Any:
    return measured.result.per_sample[f"clip_score[{measured.result.definition['clip']}]"]


def _section(
    config: Config, run: Run, names: list[str], domains: list[str], found: list[list[Any]], adjusted: Any
) -> None:
    import numpy as np

    from t2i.reporting.figures import drift_matrix
    from t2i.reporting.numbers import number

    values, low, high = (
        np.array([[getattr(cell.difference, end) for cell in row] for row in found]) for end in ("value", "low", "high")
    )
    clear = (adjusted <= 0.05) & ((low > 0) | (high < 0))
    path = drift_matrix(
        [f"tuned on {name}" for name in names],
        [f"on {domain}" for domain in domains],
        values,
        low,
        high,
        clear,
        run.figures() / "drift.png",
        "What tuning changed, domain by domain",
        "change of CLIP score",
        "Purple: gained, orange: lost; bold: clear (sign test, Holm's correction over all cells, 5 %).",
    )
    lost = [
        f"{domain} when tuned on {name}"
        for i, name in enumerate(names)
        for j, domain in enumerate(domains)
        if clear[i, j] and values[i, j] < 0
    ]
    gained = int((clear & (values > 0)).sum())
    text = (
        f"{config.eval.images} pictures a cell, same captions and seeds as the base model: {gained} of {adjusted.size} cells "
        f"are better than the base model, {len(lost)} worse" + (f" ({'; '.join(lost)})" if lost else "") + "."
    )
    rows = [
        [name, *(f"{number(c.difference.value, c.difference.low, c.difference.high)}, p {p:.2g}" for c, p in row)]
        for name, row in zip(names, (zip(r, a, strict=True) for r, a in zip(found, adjusted, strict=True)), strict=True)
    ]
    table = {
        "columns": ["tuned on", *(f"tested on {domain}" for domain in domains)],
        "rows": rows,
        "caption": "Change of the CLIP score from the base model, paired bootstrap interval (95 %), p of the sign test "
        f"adjusted for the {adjusted.size} cells (Holm 1979).",
    }
    run.section("Drift", text, [table], [(path, "Rows: tuned on; columns: tested on.")])
    run.say(text)
