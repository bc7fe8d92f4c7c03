"""What to search and how: the structured configuration of the `sweeps` group (files in the top folder `sweeps/`)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from t2i.errors import ConfigError
from t2i.sweeps.space import Dimension, dimensions

AUTO = "auto"
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


class Direction(Enum):
    """Which end of the objective is better."""

    minimize = "minimize"
    maximize = "maximize"


class Sampler(Enum):
    """Which cells are tried, by Optuna's samplers; grid is every combination."""

    grid = "grid"
    random = "random"
    tpe = "tpe"
    cmaes = "cmaes"
    nsga2 = "nsga2"


@dataclass
class Sweep:
    """A search over overrides; each cell generates and evaluates a set of pictures, and trains first if it has to."""

    name: str = "???"
    """Name of the search space, for tables and the study."""
    space: dict[str, Any] = field(default_factory=dict)
    """Override to its values: a list, e.g. {scheduler: [ddim, pndm]}, or a range {low, high, log, int}; with
    {when: {strategy: lora}} beside low and high (or `values`) it exists only there."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Overrides that are the same in every cell, e.g. {scheduler.steps: 40}."""
    metric: Optional[str] = None
    """The number that ranks the cells, of eval.metrics, e.g. clip_score or kid; or seconds_per_image, evaluations_per_image,
    held_out_loss.
    null: the CLIP score and, unless `also` names others, KID - of eval.metrics the first that say whether pictures show what was
    asked for, and whether they look like real ones -, since guidance that is chosen by one of them alone misleads."""
    direction: Optional[Direction] = None
    """Whether a higher or a lower metric is better; null: as it is by itself - a higher CLIP score, a lower FID, loss or time."""
    also: dict[str, Direction] = field(default_factory=dict)
    """Further objectives, e.g. {seconds_per_image: minimize}: then there is a Pareto front in place of one best cell."""
    reference: Optional[str] = None
    """A scheduler, e.g. dpmpp_2m, whose pictures of the same captions and seeds the cells are held against; null: what
    eval.reference says."""
    sampler: Sampler = Sampler.grid
    """grid, random, tpe (Bergstra et al. 2011), cmaes (Hansen 2016; numbers only), nsga2 (Deb et al. 2002)."""
    trials: Optional[int] = None
    """Cells to try; null: the whole grid. Every sampler but grid needs it."""
    racing: bool = False
    """Stop a cell as soon as its pictures score worse than the best cell's for the same prompts and seeds (Wilcoxon
    signed-rank test, p < 0.1); the metric must be a CLIP score."""
    round: int = 8
    """Pictures between two looks at the race."""
    workers: Any = 1
    """Processes that share the cells: a number, or auto - one a GPU; without one, for a model below 50 million parameters one
    a core, with a thread each, which is quicker than threads; otherwise one."""
    budget: Optional[str] = None
    """Time that the sweep may take, e.g. 30min or 2h: pictures a cell are reduced to what fits."""
    apply: Optional[str] = None
    """Write the best setting to conf/experiment/<apply>.yaml."""
    study: Optional[str] = None
    """Name of the Optuna study that several machines share; null: derived from model, weights, data and settings."""
    storage: Optional[str] = None
    """Optuna storage URL, e.g. postgresql://user@server/t2i; null: an SQLite file in the output folder."""
    heartbeat: int = 20
    """Seconds between signs of life of a worker; after three without one its cell is given to another."""

    def give_way(self, typed: Sequence[str]) -> None:
        """What a named search has the same in every cell gives way to a key that was typed itself, as `eval.images=8`; what was
        typed as `sweeps.fixed` stays. typed: overrides.
        """
        fixed = [text for text in typed if text.lstrip("+").startswith("sweeps.fixed")]
        for key in {text.partition("=")[0].lstrip("+") for text in typed} & self.fixed.keys():
            if not any(key in text for text in fixed):
                del self.fixed[key]

    def dimensions(self) -> list[Dimension]:
        """The space, parents before what depends on them."""
        return dimensions(self.space)

    @property
    def objectives(self) -> dict[str, Direction]:
        """All of them, the ranking metric first; before they are settled (`objectives.py`) those that were named."""
        first = {} if self.metric is None else {self.metric: self.direction or Direction.maximize}
        return {**first, **self.also}

    @property
    def budget_seconds(self) -> Optional[float]:
        """The budget in seconds."""
        if self.budget is None:
            return None
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d)\s*", self.budget)
        if match is None or float(match[1]) <= 0:
            raise ConfigError(f"sweeps.budget={self.budget} is no time; use e.g. sweeps.budget=30min")
        return float(match[1]) * _SECONDS[match[2]]

    def validate(self) -> None:
        """Raise ConfigError for spaces that cannot be searched."""
        found = self.dimensions()
        if self.workers != AUTO and not (isinstance(self.workers, int) and self.workers >= 1):
            raise ConfigError(f"sweeps.workers={self.workers} is no number of processes; use sweeps.workers=1, or auto")
        for key, least in (("round", 1), ("heartbeat", 1)):
            if getattr(self, key) < least:
                raise ConfigError(f"sweeps.{key}={getattr(self, key)} is not a positive number; use sweeps.{key}=1")
        if self.trials is not None and self.trials < 1:
            raise ConfigError(f"sweeps.trials={self.trials} is not a positive number; use e.g. sweeps.trials=20")
        if self.sampler is Sampler.grid:
            for dimension in found:
                if dimension.values is None:
                    raise ConfigError(
                        f"sweeps.space.{dimension.key} is a range, and a grid needs a list; use sweeps.sampler=tpe"
                    )
        elif self.trials is None:
            raise ConfigError(f"sweeps.sampler={self.sampler.value} needs a number of cells: sweeps.trials=20")
        if self.also and self.sampler in (Sampler.cmaes,):
            raise ConfigError("sweeps.sampler=cmaes has one objective; use sweeps.sampler=nsga2, or empty sweeps.also")
        if self.racing and (self.also or (self.metric or "clip_score").partition("[")[0] != "clip_score"):
            raise ConfigError(
                "sweeps.racing=true compares CLIP scores, and a cell that loses by them may lead by another metric; use "
                "sweeps.metric=clip_score[...] and no sweeps.also"
            )
        _ = self.budget_seconds
