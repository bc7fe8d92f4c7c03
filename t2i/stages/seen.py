"""Whether held-out pictures are ones that `weights=` were trained on: of those a model says what it has learned by heart."""

import json
from pathlib import Path
from typing import Any

from t2i.config import Config
from t2i.context import Run
from t2i.models.adapters.kinds import Kind, identify
from t2i.stages.prepared import Prepared
from t2i.stages.stage import made

AUDIT = "audit.json"


def told(config: Config, run: Run) -> str:
    """The sentence about it; empty where none is, or where nobody knows: the run's data are in no store that is here."""
    known = [identify(Path(name).expanduser()) for name in config.weights_given]
    trained: set[str] = set()
    for found in known:
        if found.kind is Kind.run:
            trained |= _trained_on(found.path.parent, run)
    if not trained:
        return ""
    here = _images(made(Prepared(config), run).path)
    held_out = [own for own in here if own["split"] == "held_out"]
    common = [own["id"] for own in held_out if own["sha256"] in trained]
    if not common:
        return ""
    named = ", ".join(sorted(common)[:3]) + (" ..." if len(common) > 3 else "")
    return (
        f"{len(common)} of {len(held_out)} held-out pictures are ones that weights= was trained on ({named}), so what is "
        "measured by them flatters it: type the dataset keys of its training, as its config.yaml has them (dataset.seed, "
        "dataset.held_out_share)"
    )


def _trained_on(folder: Path, run: Run) -> set[str]:
    """Digests of the files of the pictures that a run trained on, as far as its data are in the store."""
    stages = folder / "stages.json"
    if not stages.is_file():
        return set()
    names = json.loads(stages.read_text(encoding="utf-8"))
    found: set[str] = set()
    for digest in (own["digest"] for name, own in names.items() if name.startswith("prepared/")):
        place = run.store.root / "prepared" / digest
        if (place / AUDIT).is_file():
            found |= {own["sha256"] for own in _images(place) if own["split"] == "train"}
    return found


def _images(place: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((place / AUDIT).read_text(encoding="utf-8"))["images"]
    return found
