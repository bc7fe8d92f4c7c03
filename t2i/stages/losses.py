"""Losses at fixed noise, before and after a training: held-out pictures beside those that were trained on."""

ENDS = {"": "value", ".low": "low", ".high": "high"}
FILE = "losses.json"
"""In the training's folder: what was measured (`t2i.training.probe.Losses`)."""


def loss_gap(before: dict[str, list[float]], after: dict[str, list[float]]) -> dict[str, float]:
    """`loss_gap`: held-out loss minus that of training pictures, at the same timesteps, with Welch's 95 % interval; and
    `loss_gap_change`: what tuning added to it, each picture against itself, so that harder pictures do not count. Empty
    without two pictures on each side.
    """
    import numpy as np

    from t2i.evaluation.statistics.intervals import difference_of_means

    sides = [np.array(after[name]) for name in ("held_out", "train")]
    if min(map(len, sides)) < 2:
        return {}
    changes = [side - np.array(before[name]) for name, side in zip(("held_out", "train"), sides, strict=True)]
    found = {
        "loss_gap": difference_of_means(sides[0], sides[1]),
        "loss_gap_change": difference_of_means(changes[0], changes[1]),
    }
    return {
        "train_loss": float(sides[1].mean()),
        **{f"{name}{end}": getattr(gap, key) for name, gap in found.items() for end, key in ENDS.items()},
    }
