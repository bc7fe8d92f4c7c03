"""A training as sections of the report: its curve and its numbers, and the pictures that it drew on the way."""

import csv
import json
import math
from pathlib import Path
from typing import Any

from t2i.config import Config
from t2i.context import Run
from t2i.stages import validation


def tell(config: Config, run: Run, metrics: dict[str, float], measured: dict[str, Any]) -> None:
    """measured: the losses at fixed noise, as the training wrote them down."""
    from t2i.reporting.figures import loss_curve
    from t2i.reporting.numbers import number

    with open(run.folder / "train_log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    steps, losses = [int(row["step"]) for row in rows], [float(row["loss"]) for row in rows]
    before = metrics.get("held_out_loss_before", math.nan)
    measured_loss = not math.isnan(before)
    held_out = [(int(step), loss) for step, loss in measured["held_out"] if not math.isnan(loss)]
    figure = loss_curve(
        steps,
        losses,
        run.figures() / "training_loss.png",
        f"Training {config.strategy.kind} on {config.dataset.name}",
        held_out,
    )
    gaps = [
        [label, number(metrics[key], metrics[f"{key}.low"], metrics[f"{key}.high"])]
        for label, key in (
            ("held-out loss minus that of training pictures", "loss_gap"),
            ("of that, added by the training", "loss_gap_change"),
        )
        if key in metrics
    ]
    table = {
        "columns": ["quantity", "value"],
        "rows": [
            ["strategy", config.strategy.kind],
            ["trainable parameters", int(metrics["trainable_parameters"])],
            ["optimizer steps", int(metrics["steps"])],
            ["pictures a step", config.training.batch_size],
            ["final training loss", metrics["final_loss"]],
            *(
                [["held-out loss before", before], ["held-out loss after", metrics["held_out_loss"]]]
                if measured_loss
                else []
            ),
            *gaps,
            ["images per second", metrics["images_per_second"]],
            ["peak memory (MiB)", round(metrics["peak_memory_mb"])],
            ["largest pixel difference after reload (of 255)", metrics["reload_max_difference"]],
        ],
        "caption": "The held-out loss uses fixed noise and timesteps, so before and after are comparable; its difference to "
        "training pictures is of the same timesteps, with a 95 % interval: well above zero, the training set is being learnt "
        "by heart.",
    }
    text = (
        f"Held-out loss {before:.4f} before, {metrics['held_out_loss']:.4f} after {metrics['steps']:.0f} steps; "
        if measured_loss
        else f"{metrics['steps']:.0f} steps; the held-out loss was not measured, as there is no held-out picture; "
    ) + f"{metrics['images_per_second']:.1f} images/s."
    run.section(
        "Training", text, [table], [(figure, "Mean squared error of the predicted noise over the optimizer steps.")]
    )
    run.detail(text)


def tell_validation(run: Run, folder: Path) -> None:
    """The pictures and their scores over the training, as a section of the report."""
    import numpy as np
    from PIL import Image

    from t2i.reporting.figures import samples_over_training
    from t2i.reporting.numbers import number

    rows, prompts = validation.read(folder), json.loads((folder / validation.PROMPTS).read_text(encoding="utf-8"))
    grid = [
        np.stack([np.asarray(Image.open(path)) for path in sorted((folder / f"step_{int(row[0]):08d}").glob("*.png"))])
        for row in rows
    ]
    path = samples_over_training(
        [int(row[0]) for row in rows],
        np.stack(grid),
        prompts,
        [row[1:] for row in rows],
        run.figures() / "validation_samples.png",
        "Validation pictures over the training",
    )
    table = {
        "columns": ["step", "CLIP score"],
        "rows": [[int(step), number(score, low, high)] for step, score, low, high in rows],
        "caption": f"Mean over {len(prompts)} pictures of the same prompts and seeds, with 95 % intervals: few "
        "pictures, so a hint while training and no verdict.",
    }
    run.section("While it trained", "", [table], [(path, "Same prompts and seeds at every checkpoint.")])
