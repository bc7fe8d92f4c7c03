"""What to search: the structured configuration of the `sweeps` group (files in the top folder `sweeps/`)."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from t2i.errors import ConfigError


class Direction(Enum):
    """Which end of the objective is better."""

    minimize = "minimize"
    maximize = "maximize"


@dataclass
class Sweep:
    """A grid over overrides; each cell generates and evaluates a set of pictures."""

    name: str = "???"
    """Name of the search space, for tables and the study."""
    space: dict[str, Any] = field(default_factory=dict)
    """Override to its list of values, e.g. {scheduler: [ddim, pndm], cfg.scale: [5, 7.5]}."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Overrides that are the same in every cell, e.g. {scheduler.steps: 40}."""
    metric: str = "clip_score[tiny_clip]"
    """The number that ranks the cells."""
    direction: Direction = Direction.maximize
    """Whether a higher or a lower metric is better."""
    storage: Optional[str] = None
    """Optuna storage URL; null: an SQLite file in the output folder."""

    def validate(self) -> None:
        """Raise ConfigError for spaces that cannot be searched."""
        for key, values in self.space.items():
            if not isinstance(values, list) or not values:
                raise ConfigError(
                    f"sweeps.space.{key} is {values!r}, not a list of values; use e.g. sweeps.space.cfg.scale=[5,7.5]"
                )
        if not self.space:
            raise ConfigError("sweeps.space is empty; use e.g. sweeps=scheduler_cfg")
