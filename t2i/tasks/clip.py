"""`task=clip`: tune a CLIP on pictures and captions, measure it before and after, hand its text tower to generation."""

import shutil

from t2i.config import Config
from t2i.context import Run
from t2i.stages.clip import EPOCHS, TUNED, Clip
from t2i.stages.clip_features import ALPHAS, OfState, blend, other_data, pictures
from t2i.stages.copies import copied, linked
from t2i.stages.goals import Goals
from t2i.stages.prepared import Prepared
from t2i.stages.stage import made
from t2i.stories import clip as story
from t2i.stories import text_towers
from t2i.training.contrastive.config import RANDOM


def stages(config: Config, run: Run) -> Goals:
    """The tuned CLIP; what it knows in each state and between them, here and elsewhere; pictures with both text encoders."""
    clip = Clip(config)
    yield "data", [Prepared(config)]
    yield "tuning of the CLIP", [clip]
    places = {"": config} | ({"elsewhere, ": other_data(config)} if config.clip.forgetting else {})
    for prefix, where in places.items():
        if prefix:
            yield f"{prefix}data", [Prepared(where)]
        for state in clip.states():
            yield f"{prefix}CLIP {state}", [OfState(where, clip, state)]
        if _blends(config):
            yield f"{prefix}blends", [blend(where, clip, alpha) for alpha in ALPHAS[1:-1]]
    if config.clip.generate:
        for name, own in text_towers.sets_of(config).items():
            yield f"pictures with the {name} text encoder", [own]


def _blends(config: Config) -> bool:
    """Whether there is something between before and after."""
    return config.clip.source != RANDOM and not config.clip.fresh


def clip(config: Config, run: Run) -> dict[str, float]:
    """Returns every number before and after with the difference; leaves `clip/` (the tuned CLIP) in the run folder."""
    config.eval.validate()
    other = other_data(config) if config.clip.forgetting else None
    for where in (config, other):  # before anything is tuned
        if where is not None:
            pictures(where, run)
    stage = Clip(config)
    folder = made(stage, run).path
    if run.main:
        copied(folder / TUNED, run.folder / TUNED)
        if (epochs := folder / EPOCHS).exists():
            shutil.copytree(epochs, run.folder / EPOCHS, copy_function=linked)
        shutil.copy(folder / "clip_log.csv", run.folder / "clip_log.csv")
        run.say(f"tuned CLIP: {run.folder / TUNED}")
        story.tell_training(config, run, folder)
    metrics = story.tell_states(config, other, run)
    if _blends(config):
        metrics |= story.tell_blends(config, other, run)
    if config.clip.generate:
        metrics |= text_towers.compare(config, run)
    return metrics
