"""What a training leaves beside its weights, and was asked for only when it was finished."""

import json
from pathlib import Path
from typing import Any

from t2i import identity
from t2i.config import Config, as_dict
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.stages import validation
from t2i.store import MANIFEST, digest_of
from t2i.training.config import Training


def require(training: Training, total: int) -> None:
    """ConfigError for milestones that a training of `total` steps does not reach."""
    beyond = [step for step in training.milestones if step > total]
    if beyond:
        raise ConfigError(
            f"training.milestones={training.milestones} holds {beyond[0]} and the training has {total} steps; use steps up to "
            f"{total}"
        )


def finished(folder: Path) -> bool:
    """Whether the store holds this training."""
    return (folder / MANIFEST).exists()


def lacking(config: Config, run: Run, folder: Path) -> list[str]:
    """What the finished training in `folder` does not have of what is asked for, each with how to get it; none where it is
    not finished, as it will make everything.
    """
    if not finished(folder):
        return []
    sentences = []
    missed = [step for step in config.training.milestones if not (folder / "checkpoints" / f"step_{step:08d}").exists()]
    if missed:
        sentences.append(
            f"training.milestones={missed}: this training is finished and kept no checkpoint of these steps; it trains again "
            "and keeps them with training.resume=never"
        )
    if config.training.validation_images:
        asked, there = validation.settings_of(config, run), _recorded(folder / validation.FOLDER)
        differing = [key for key in asked if there.get(key, asked[key]) != asked[key]]
        if "prompts" not in there or differing:
            what = f"other {' and '.join(differing)}" if differing else "no validation pictures"
            sentences.append(
                f"training.validation_images={config.training.validation_images}: this training is finished and has {what}; it "
                "trains again and draws them with training.resume=never"
            )
    return sentences


def digest(config: Config) -> str:
    """What a training that is done again for its extras is known by, beside its address."""
    training = config.training
    watched = {"images": training.validation_images, "prompts": training.validation_prompts}
    drawn = {"scheduler": as_dict(config.scheduler), "cfg": identity.guidance(config), "seed": config.seed}
    return digest_of({"milestones": sorted(training.milestones), "watched": watched, "drawn": drawn})


def _recorded(folder: Path) -> dict[str, Any]:
    """The settings of the validation pictures in `folder`; older ones tell their prompts only."""
    found: dict[str, Any] = {}
    if (path := folder / validation.SETTINGS).exists():
        found = json.loads(path.read_text(encoding="utf-8"))
    if (path := folder / validation.PROMPTS).exists():
        found["prompts"] = json.loads(path.read_text(encoding="utf-8"))
    return found
