"""`task=drift runs=[<run>,...] dataset.domains=[animal,food]`: what tuning on one domain does to the others.

With `weights=[<run>,<run>] weights_scale=[0.7,0.7]` the last row is of those together: what adapters of several domains, merged,
do to each of them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.stages.goals import Goals
from t2i.stages.metrics import Metrics
from t2i.stages.weights import Given
from t2i.stories import drift as story


def _numbers(config: Config) -> dict[str, list[Metrics]]:
    """By domain, of the base model and of each run's."""
    found = {}
    for domain in config.dataset.domains:
        data = replace(config.dataset, domains=[domain])
        own = replace(config, dataset=data, eval=replace(config.eval, metrics=list(story.METRICS)))
        base = replace(own, weights=None, weights_scale=[])
        tuned = [Given(replace(base, weights=run)) for run in config.runs]
        tuned += [Given(own)] if config.weights_given else []
        found[domain] = [Metrics(base), *(Metrics(base, weights) for weights in tuned)]
    return found


def stages(config: Config, run: Run) -> Goals:
    """The numbers of every domain."""
    for domain, numbers in _numbers(config).items():
        yield f"on {domain}", numbers


def drift(config: Config, run: Run) -> dict[str, float]:
    """Returns `<metric>/<tuned on>/<tested on>` with its interval for every run and domain; leaves tables and heat maps.

    What `weights` name together is called as its runs are, with its scales: `animal x 0.7 + food x 0.7`. Raises ConfigError
    without either, with fewer than two domains, or when a domain has too few held-out captions.
    """
    from t2i.evaluation.verdict import changes_of

    if not (config.runs or config.weights_given) or len(config.dataset.domains) < 2:
        raise ConfigError(
            f"task=drift has {len(config.runs)} runs and {len(config.dataset.domains)} domains; type runs=[<tuned run>,...] and "
            "dataset.domains=[<domain>,<domain>]"
        )
    names = _names(config, run)
    found: list[dict[str, Any]] = [{} for _ in names]
    for domain, (base, *tuned) in _numbers(config).items():
        before = base.read(run).result
        for row, stage in zip(found, tuned, strict=True):
            row[domain] = changes_of(before, stage.read(run).result)
    return story.tell(config, run, names, found)


def _names(config: Config, run: Run) -> list[str]:
    """The domains that each run was tuned on; what is no run's weights is told before anything is drawn."""
    found: list[str] = []
    for folder in config.runs:
        Given(replace(config, weights=folder, weights_scale=[])).find(run)
        name = _tuned_on(folder)
        found.append(name if name not in found else f"{name} ({len(found) + 1})")
    if names := config.weights_given:
        Given(config).find(run)
        scales = config.weights_scale or [1.0] * len(names)
        found.append(" + ".join(f"{_tuned_on(name)} x {scale:g}" for name, scale in zip(names, scales, strict=True)))
    return found


def _tuned_on(folder: str) -> str:
    """The domains of a run; another file's name."""
    import yaml

    path = Path(folder).expanduser() / "config.yaml"
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    return "+".join(values.get("dataset", {}).get("domains", [])) or Path(folder).name
