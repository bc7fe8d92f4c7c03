"""Back to the step of a checkpoint: parameters, optimizer and log as they were."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from t2i.training.checkpoints import Checkpoint


def restore(
    found: Checkpoint, parameters: Mapping[str, torch.Tensor], optimizer: Any, schedule: Any, scaler: Any
) -> None:
    """Put a checkpoint's state into a training that was built as it was; `scaler` may be None."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(found.parameters[name])
    optimizer.load_state_dict(found.optimizer["optimizer"])
    schedule.load_state_dict(found.optimizer["schedule"])
    if scaler is not None and found.optimizer["scaler"]:
        scaler.load_state_dict(found.optimizer["scaler"])


def cut_log(path: Path, columns: Sequence[str], step: int) -> None:
    """Start the log at `path` anew with its lines up to `step`: the first of the `columns` counts the steps."""
    kept: list[list[str]] = []
    if step and path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            kept = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= step]
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *kept])
