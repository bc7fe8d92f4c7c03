"""`task=compare runs=[a,b]`: is the second run's model better than the first's, by which metrics, and how sure is that?"""

import json
from pathlib import Path
from typing import Any

from t2i.config import Config
from t2i.context import COMMAND, Run
from t2i.errors import ConfigError
from t2i.store import require_sound
from t2i.stories.verdict import tell, verdict_of
from t2i.tasks.evaluate import EVALUATED, TERMS, Measured, read_result
from t2i.tasks.report import write


def compare(config: Config, run: Run) -> dict[str, float]:
    """Returns each metric's change (b minus a) with interval, p values and smallest detectable change; leaves report.html.

    The runs: task=evaluate, or task=pipeline, of which the tuned model counts. Given one pipeline run alone, its base
    and its tuned model are compared. Raises UserError that names the fields in which the two definitions differ.
    """
    folders = [Path(name).expanduser() for name in config.runs]
    if len(folders) not in (1, 2):
        raise ConfigError(
            f"task=compare compares two runs and {len(folders)} are given; type runs=[<run folder>,<run folder>]"
        )
    models = [evaluated(folder, run) for folder in folders]
    if len(models) == 1 and len(models[0]) == 1:
        raise ConfigError(
            f"runs=[{folders[0]}] alone holds one model; give a second run, or a run of task=pipeline, which has two"
        )
    first, second = models[0] if len(models) == 1 else (models[0][-1], models[1][-1])
    verdict = verdict_of(run, first, second)
    if run.main:
        names = ("base", "tuned") if len(folders) == 1 else _names(folders)
        tell(config, run, verdict, first, second, names, "Comparison")
        run.tracker.artifact(write([run.folder], run.folder / "report.html"))
    return verdict.numbers


def evaluated(folder: Path, run: Run) -> list[Measured]:
    """The evaluated models of a run, the tuned one last. ConfigError when there is none, or its stages are gone."""
    path = folder / EVALUATED
    if not path.exists():
        raise ConfigError(
            f"runs={folder} holds no evaluation ({EVALUATED} is missing); give a run folder of task=evaluate or "
            f"task=pipeline, or make one: {COMMAND} task=evaluate weights={folder}"
        )
    found: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return [_measured(folder, stages, run) for stages in found.values()]


def _measured(folder: Path, stages: dict[str, str], run: Run) -> Measured:
    paths: dict[str, Path] = {}
    for name, digest in stages.items():
        # A run folder brings its store along: it may be one of another output folder.
        places = [root / name / digest for root in (run.store.root, folder.absolute().parent.parent / "store")]
        paths[name] = next((place for place in places if place.exists()), places[0])
    if not (paths["metrics"] / TERMS).exists() or not all(path.exists() for path in paths.values()):
        gone = [name for name, path in paths.items() if not path.exists()] or [TERMS]
        raise ConfigError(
            f"runs={folder} was evaluated, but {', '.join(gone)} of it is no longer in the store {run.store.root}; run it "
            "again"
        )
    for path in paths.values():
        require_sound(path)
    captions: Any = json.loads((paths["generated"] / "captions.json").read_text(encoding="utf-8"))
    return Measured(read_result(paths["metrics"]), captions, paths["generated"], paths["metrics"], paths["prepared"])


def _names(folders: list[Path]) -> tuple[str, str]:
    """What the two runs are called: their folders' names, told apart if they are one."""
    first, second = (folder.name for folder in folders)
    return (first, second) if first != second else (f"{first} (1)", f"{second} (2)")
