"""What the cells of a sweep are held against when it is not real pictures: those of a scheduler that is trusted."""

from dataclasses import replace
from pathlib import Path

from t2i.config import Config, composed
from t2i.context import Run
from t2i.stages.generated import captions_of, generated_set, prepared
from t2i.store import write_json
from t2i.sweeps.cells import cell_config, weights_of

VERSION = 1


def referred(config: Config, run: Run) -> Config:
    """The configuration in whose cells `eval.reference` is the set that `sweeps.reference` draws: the captions, seeds, steps,
    guidance and weights of the sweep with that scheduler. Unchanged where `sweeps.reference` is null.

    Every process has to call it.
    """
    sweeps = config.sweeps
    if sweeps.reference is None:
        return config
    own = cell_config(config, run, {})
    # Trusted as it stands in its file: what was typed for the scheduler of the sweep is not for this one.
    own = composed(own, {"scheduler": sweeps.reference, "scheduler.steps": own.scheduler.steps}, [])
    _, data = prepared(own, run)
    tuned = weights_of(config, run, {})[0]
    pictures = generated_set(own, run, captions_of(data, own.eval.images), tuned)

    def build(folder: Path) -> None:  # as a run folder names its stages
        write_json(folder / "stages.json", {f"generated/{pictures.digest[:12]}": {"digest": pictures.digest}})

    stage = run.stage("sweep_reference", {"pictures": pictures.digest}, {}, VERSION, build)
    run.say(f"reference of the sweep: {sweeps.reference}, {own.scheduler.steps} steps")
    fixed = {**sweeps.fixed, "eval.reference": str(stage.path)}
    return replace(config, sweeps=replace(sweeps, reference=None, fixed=fixed))
