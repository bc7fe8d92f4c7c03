"""`task=prepare`: read, check and resize a dataset; set aside what cannot be used."""

import json

from t2i.config import Config
from t2i.context import Run
from t2i.tasks.shared import prepared


def prepare(config: Config, run: Run) -> dict[str, float]:
    """Returns the numbers of prepared pictures, captions and quarantined files."""
    stage, data = prepared(config, run)
    train, held_out = data.split("train"), data.split("held_out")
    quarantine = json.loads((stage.path / "quarantine.json").read_text(encoding="utf-8"))
    metrics = {
        "train_images": float(len(train)),
        "held_out_images": float(len(held_out)),
        "captions": float(sum(map(len, train.captions)) + sum(map(len, held_out.captions))),
        "quarantined": float(len(quarantine)),
    }
    if not run.main:
        return metrics
    counts: dict[str, list[int]] = {}
    for column, split in enumerate((train, held_out)):
        for domains in split.domains:
            for domain in domains:
                counts.setdefault(domain, [0, 0])[column] += 1
    table = {
        "columns": ["domain", "training pictures", "held-out pictures"],
        "rows": [[name, *pair] for name, pair in sorted(counts.items())],
        "caption": "Pictures by domain; a picture with two domains counts in both.",
    }
    figures = []
    if len(train):
        from t2i.reporting.figures import sample_grid

        shown = range(min(15, len(train)))
        figure = sample_grid(
            train.pixels(list(shown)),
            [train.captions[i][0] for i in shown],
            run.figures() / "training_pictures.png",
            f"Training pictures of {config.dataset.name}",
        )
        figures.append((figure, f"The first training pictures of {config.dataset.name} with their first caption."))
    text = (
        f"{len(train)} training and {len(held_out)} held-out pictures at {config.dataset.resolution} x "
        f"{config.dataset.resolution} pixels, {metrics['captions']:.0f} captions; {len(quarantine)} files set aside."
    )
    run.section("Data", text, [table] if counts else [], figures)
    run.say(text)
    return metrics
