"""`task=train`: fine-tune the chosen parameters, and export what changed."""

import json
import math
import shutil

from t2i.config import Config
from t2i.context import Run
from t2i.models.layout import copy as copy_pipeline
from t2i.stages import losses, validation
from t2i.stages.copies import copied, linked
from t2i.stages.goals import Goals
from t2i.stages.pipeline import Pipeline, exported
from t2i.stages.prepared import Prepared
from t2i.stages.training import Training, trained
from t2i.stories import training as story


def stages(config: Config, run: Run) -> Goals:
    """The training, and before it the data."""
    training = Training(config)
    yield "data", [Prepared(config)]
    yield "training", [training]
    yield "exported pipeline", [Pipeline(config, training)]


def train(config: Config, run: Run) -> dict[str, float]:
    """Returns losses, speed and memory; leaves `weights/` (what changed) and `pipeline/` (the whole) in the run folder."""
    tuned, metrics = trained(config, run)
    if math.isnan(metrics["held_out_loss"]):  # without held-out pictures
        metrics = {name: value for name, value in metrics.items() if not name.startswith("held_out_loss")}
    pipeline, difference = exported(Training(config), run)
    metrics |= difference
    if run.main:
        made = tuned.folder.parent
        if pipeline is not None:
            copy_pipeline(pipeline, run.folder / "pipeline", linked)
        shutil.copy(made / "train_log.csv", run.folder / "train_log.csv")
        story.tell(config, run, metrics, json.loads((made / losses.FILE).read_text(encoding="utf-8")))
        if validation.prompts_of(config, run) and (pictures := made / validation.FOLDER).exists():
            shutil.copytree(pictures, run.folder / validation.FOLDER)
            story.tell_validation(run, pictures)
        copied(tuned.folder, run.folder / "weights")
        if (kept := made / "checkpoints").exists():
            shutil.copytree(kept, run.folder / "checkpoints", copy_function=linked)
        run.detail(f"tuned weights: {run.folder / 'weights'}")
    return metrics
