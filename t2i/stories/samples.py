"""What a pipeline shows of its tuned model: pictures, the loss above them, real ones beside them, cost."""

import csv
from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.stages.captions import rows_of
from t2i.stages.metrics import Measured
from t2i.stages.prepared import data_of

SHOWN = 10
"""Pictures of generated_samples_grid.png."""
BESIDE = 6
"""Captions of which the real picture stands beside the generated one."""
Figures = list[tuple[Path, str]]


def samples(config: Config, run: Run, tuned: Measured) -> None:
    """Tell what the tuned model draws."""
    from t2i.reporting.figures import rows_of_pictures, sample_grid

    shown, folder = min(SHOWN, len(tuned.captions)), run.figures()
    title = "Tuned model, held-out captions"
    grid = sample_grid(tuned.pictures(shown), tuned.captions[:shown], folder / "generated_samples_grid.png", title)
    figures: Figures = [(grid, "Pictures of the tuned model.")]
    split = data_of(config, run).split("held_out")
    beside = min(BESIDE, len(split), len(tuned.captions))
    generated = tuned.pictures(beside)
    real = split.squares(rows_of(split)[:beside], generated.shape[1])
    path = rows_of_pictures(
        {"real": real, "tuned": generated},
        tuned.captions[:beside],
        folder / "real_versus_generated.png",
        "Real pictures, and what the tuned model draws for their captions",
        "Each column: one held-out caption, its picture, and the tuned model's from that caption.",
    )
    figures += [(path, "Real and generated pictures of the same held-out captions."), *_training(config, run, tuned)]
    run.section("Samples and numbers", "What the tuned model draws.", (), figures)


def _training(config: Config, run: Run, tuned: Measured) -> Figures:
    """The loss above pictures, and what the training cost; nothing where this run did not train."""
    from t2i.reporting.figures import loss_and_samples, training_resources

    path = run.folder / "train_log.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    shown = min(BESIDE, len(tuned.captions))
    both = loss_and_samples(
        steps,
        [float(row["loss"]) for row in rows],
        tuned.pictures(shown),
        tuned.captions[:shown],
        run.figures() / "loss_and_samples.png",
        f"Training {config.strategy.kind} on {config.dataset.name}, and what came of it",
    )
    cost = training_resources(
        steps,
        [float(row["images_per_second"]) for row in rows],
        [float(row["memory_mb"]) for row in rows],
        run.figures() / "training_resources.png",
        "What the training cost",
    )
    return [
        (both, "The loss of the batches, and pictures of the tuned model for held-out captions."),
        (cost, "Speed and memory over the training."),
    ]
