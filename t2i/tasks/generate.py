"""`task=generate`: pictures for prompts, or for held-out captions, from the base or the tuned model."""

import shutil

from t2i.config import Config
from t2i.context import Run
from t2i.tasks.shared import captions_of, find_tuned, generated_set, prepared, read_pictures


def generate(config: Config, run: Run) -> dict[str, float]:
    """Leaves the pictures in `images/` of the run folder, each with its recipe inside."""
    tuned = find_tuned(config, run)
    captions = list(config.prompts)
    if not captions:
        _, data = prepared(config, run)
        captions = captions_of(data, config.images)
    stage = generated_set(config, run, captions, tuned)
    if run.main:
        from t2i.reporting.figures import sample_grid

        folder = run.folder / "images"
        shutil.copytree(stage.path, folder, ignore=shutil.ignore_patterns("manifest.json"))
        shown = min(len(captions), 25)
        model = f"{config.model.name}{' tuned' if tuned else ''}"
        scheduler = f"{config.scheduler.name} {config.scheduler.steps} steps"
        title = f"{model}, {scheduler}, guidance {config.cfg.scale:g}"
        figure = sample_grid(
            read_pictures(folder, shown), captions[:shown], run.figures() / "generated_samples_grid.png", title
        )
        run.section("Generated pictures", f"{len(captions)} pictures, seeds from {config.seed}.", [], [(figure, title)])
        run.say(f"pictures: {folder}")
    return {"images": float(len(captions))}
