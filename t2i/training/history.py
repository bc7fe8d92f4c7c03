"""What a training remembers of its steps, and the numbers that it ends with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from t2i.training.probe import TIMESTEPS


@dataclass
class History:
    """Kept in every checkpoint: an interrupted training ends with the numbers of one that was not."""

    held_out: list[list[float]] = field(default_factory=list)
    """Step, mean held-out loss, and the loss of each range of timesteps, at step 0 and at every checkpoint."""
    skipped: list[int] = field(default_factory=list)
    """Steps that changed nothing, because their gradient was not finite."""
    pictures: dict[str, list[float]] = field(default_factory=dict)
    """By `held_out` and `train`: the loss of each measured picture at step 0."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "History":
        """Of a checkpoint."""
        return cls(**{known.name: facts[known.name] for known in fields(cls)})

    def facts(self) -> dict[str, Any]:
        """As they are written into a checkpoint."""
        return {known.name: getattr(self, known.name) for known in fields(self)}

    def best_step(self) -> int:
        """The measured step with the lowest held-out loss."""
        return int(min(self.held_out[1:] or [[0, 0.0]], key=lambda row: row[1])[0])

    def summary(self, lines: Sequence[Mapping[str, str]], exported: int, ranges: Sequence[str]) -> dict[str, float]:
        """Numbers of a training that is done. lines: of its log. exported: the step whose weights are. ranges: names of those of
        times that the held-out loss is told for.
        """
        tail = [float(line["loss"]) for line in lines[-max(1, len(lines) // 5) :]]
        rates = sorted(float(line["images_per_second"]) for line in lines)
        before, after = self.held_out[0], next(row for row in self.held_out if row[0] == exported)
        return {
            "final_loss": sum(tail) / len(tail),
            "held_out_loss_before": before[1],
            "held_out_loss": after[1],
            **{f"held_out_loss/{name}": value for name, value in zip(ranges, after[2:], strict=True)},
            "exported_step": float(exported),
            "skipped_steps": float(len(self.skipped)),
            "images_per_second": rates[len(rates) // 2],
        }


def by_range(losses: Any) -> list[float]:
    """The mean of float64 (pictures, timesteps), then that of each timestep; NaN where no picture was measured."""
    if not len(losses):
        return [math.nan] * (1 + TIMESTEPS)
    ranges = losses.mean(dim=0)
    return [float(ranges.mean()), *ranges.tolist()]
