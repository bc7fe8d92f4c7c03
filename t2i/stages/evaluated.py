"""The evaluated models that finished runs left, wherever their stores are."""

import json
from pathlib import Path
from typing import Any

from t2i.context import Run
from t2i.errors import ConfigError
from t2i.places import COMMAND
from t2i.stages.metrics import TERMS, Measured, read_result
from t2i.store import require_sound, write_json

EVALUATED = "evaluated.json"
"""In a run folder: for each evaluated model the digests of its stages, by which task=compare finds them."""


def note(run: Run, models: dict[str, Measured]) -> None:
    """Leave in the run folder which stages the numbers of which model are in, and what they are about."""
    found = {
        name: {"metrics": own.numbers.name, "generated": own.folder.name, "prepared": own.data.name}
        for name, own in models.items()
    }
    write_json(run.folder / EVALUATED, found)


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
