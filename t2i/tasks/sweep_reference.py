"""What the cells of a sweep are held against when it is not real pictures: those of a scheduler that is trusted."""

from dataclasses import replace
from pathlib import Path
from typing import Optional

from t2i.config import Config, compose
from t2i.context import Run
from t2i.store import write_json
from t2i.tasks.shared import captions_of, generated_set, prepared
from t2i.tasks.tuned import Tuned

VERSION = 1


def referred(config: Config, run: Run, tuned: Optional[Tuned]) -> Config:
    """The configuration whose `eval.reference` is the set that `sweeps.reference` draws: the captions, seeds, steps and
    guidance of the sweep with that scheduler. Unchanged where `sweeps.reference` is null.

    tuned: the weights that draw. Every process has to call it.
    """
    if config.sweeps.reference is None:
        return config
    fixed = config.sweeps.fixed
    steps = int(fixed.get("scheduler.steps", config.scheduler.steps))
    scheduler = replace(compose([f"scheduler={config.sweeps.reference}"]).scheduler, steps=steps)
    own = replace(config, scheduler=scheduler)
    _, data = prepared(config, run)
    pictures = generated_set(own, run, captions_of(data, int(fixed.get("eval.images", config.eval.images))), tuned)

    def build(folder: Path) -> None:  # as a run folder names its stages
        write_json(folder / "stages.json", {f"generated/{pictures.digest[:12]}": {"digest": pictures.digest}})

    stage = run.stage("sweep_reference", {"pictures": pictures.digest}, {}, VERSION, build)
    run.say(f"reference of the sweep: {config.sweeps.reference}, {steps} steps")
    return replace(config, eval=replace(config.eval, reference=str(stage.path)))
