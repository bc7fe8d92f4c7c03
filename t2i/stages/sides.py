"""What task=compare holds against each other: evaluated runs, or folders of pictures."""

from dataclasses import dataclass, replace
from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.data.given.folder import Gallery, gallery
from t2i.data.given.pairs import Together, together
from t2i.errors import ConfigError
from t2i.stages.comparison import Elsewhere
from t2i.stages.evaluated import evaluated
from t2i.stages.given import Judged, MetricsOfGiven, against
from t2i.stages.metrics import Measured
from t2i.stages.references import OfFolder
from t2i.stages.stage import Stage


@dataclass(frozen=True)
class Side:
    """One of several."""

    name: str
    numbers: Stage
    shown: Measured | Judged
    """The numbers, read, and the pictures."""


def of_runs(config: Config, run: Run) -> list[Side]:
    """The evaluated models of `runs`: of each its tuned one; of a pipeline alone its base and its tuned one."""
    folders = [Path(name).expanduser() for name in config.runs]
    if not folders:
        raise ConfigError(
            "task=compare compares two runs or more and none is given; type runs=[<run folder>,<run folder>]"
        )
    models = [evaluated(folder, run) for folder in folders]
    if len(models) == 1 and len(models[0]) == 1:
        raise ConfigError(
            f"runs=[{folders[0]}] alone holds one model; give a second run, or a run of task=pipeline, which has two"
        )
    chosen = models[0] if len(models) == 1 else [own[-1] for own in models]
    names = ["base", "tuned"] if len(models) == 1 else names_of(folders)
    return [Side(name, Elsewhere(config, own.numbers), own) for name, own in zip(names, chosen, strict=True)]


def of_pictures(config: Config, run: Run) -> tuple[list[Side], Together]:
    """The pictures of several folders, brought together: captions that one of a pair has are those of the other too."""
    sets = [gallery(name) for name in config.pictures_given]
    found = together(sets)
    known = next((own for own in found.sets if own.captions is not None), None)
    if found.paired and known is not None:
        found = replace(found, sets=tuple(_captioned(own, known) for own in found.sets))
    reference = against(config, run)
    sides = []
    for name, own in zip(names_of([own.root for own in found.sets]), found.sets, strict=True):
        numbers = MetricsOfGiven(config, own, reference)
        sides.append(Side(name, numbers, numbers.read(run)))
    return sides, found


def _captioned(own: Gallery, known: Gallery) -> Gallery:
    return own if own.captions is not None else replace(own, captions=known.captions, source=known.source)


def apart(config: Config, run: Run, first: Gallery, second: Gallery) -> dict[str, float]:
    """Of pictures without reference: how far the second set lies from the first, by the metrics that ask for a reference."""
    from t2i.evaluation.metrics.registry import METRICS

    names = [name for name in config.eval.metrics if METRICS[name].needs == ("reference",)]
    if not names:
        return {}
    own = replace(config, eval=replace(config.eval, metrics=names))
    alone = replace(second, captions=None)
    return MetricsOfGiven(own, alone, OfFolder(own, first.root, first)).read(run).result.metrics


def names_of(folders: list[Path]) -> list[str]:
    """What they are called: their folders' names, told apart by number where several have one."""
    names = [folder.absolute().name for folder in folders]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: k + 1].count(name)})" for k, name in enumerate(names)
    ]
