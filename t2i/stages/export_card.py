"""What the model card beside exported files says."""

import json
from pathlib import Path
from typing import Optional

from t2i.config import Config
from t2i.context import Run
from t2i.models import source
from t2i.stages.exports import Exported, runs_of, words_of
from t2i.stages.model_card import hub_id
from t2i.stages.networks import model_digest
from t2i.stages.tuned import Tuned


def export_card(
    config: Config,
    run: Run,
    tuned: Optional[Tuned],
    origin: Optional[Path],
    written: Exported,
    numbers: dict[str, float],
) -> str:
    """origin: the run that is exported; numbers: how far what was written is from ours."""
    from t2i.training import card

    training = [folder / "README.md" for folder in runs_of(tuned)]
    told = "\n".join(path.read_text(encoding="utf-8") for path in training if path.exists())
    family = source.family(config.model)
    usage = card.Usage(
        config.format.value,
        hub_id(config),
        written.path.name,
        written.adapter.name if written.adapter else "",
        config.model.resolution,
        config.scheduler.steps,
        family.pipelines[0],
        family.absent,
        words_of(config),
    )
    facts = {
        "model": f"{config.model.name}, digest `{model_digest(config, run)}`",
        "weights": "none: the base model" if tuned is None else f"digest `{tuned.digest}`",
        "numbers in the files": config.dtype.value,
        "read back": f"a picture differs by {numbers['reload_max_difference']:g} of 255 grey levels",
    }
    return card.export_card(config.model.name, config.model.license, usage, verdict_of(origin), facts, told)


def verdict_of(folder: Optional[Path]) -> str:
    """The sentence that the run's comparison with its base model came to; empty when it made none."""
    path = folder / "sections.json" if folder is not None else None
    if path is None or not path.exists():
        return ""
    sections = json.loads(path.read_text(encoding="utf-8"))
    return next((part["facts"]["verdict"] for part in reversed(sections) if part["facts"].get("verdict")), "")
