"""Which scheduler and how much guidance: the structured configuration of the `scheduler` and `cfg` groups."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from t2i.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from diffusers import SchedulerMixin


@dataclass
class Scheduler:
    """A diffusers scheduler; a new one is one YAML file."""

    name: str = "???"
    """Short name for tables."""
    type: str = "???"
    """Class name in diffusers, e.g. DDIMScheduler."""
    steps: int = 50
    """Number of denoising steps."""
    eta: float = 0.0
    """Share of DDPM noise in DDIM steps (Song et al. 2020, eq. 16); 0 is deterministic. Other schedulers ignore it."""
    options: dict[str, Any] = field(default_factory=dict)
    """Overrides of the model's own noise-schedule configuration."""

    def validate(self) -> None:
        """Raise ConfigError for values that no run could use."""
        if not 1 <= self.steps <= 1000:
            raise ConfigError(f"scheduler.steps={self.steps} is not between 1 and 1000; use e.g. scheduler.steps=50")
        if not 0 <= self.eta <= 1:
            raise ConfigError(f"scheduler.eta={self.eta} is not in [0, 1]; use scheduler.eta=0")

    def build(self, scheduler_config: dict[str, Any]) -> "SchedulerMixin":
        """The scheduler for a model's noise schedule; ConfigError when diffusers has no such scheduler or option."""
        import inspect

        import diffusers

        kind = getattr(diffusers, self.type, None)
        if kind is None or not self.type.endswith("Scheduler"):
            raise ConfigError(f"scheduler.type={self.type} is no scheduler of diffusers; use e.g. DDIMScheduler")
        known = inspect.signature(kind).parameters
        for option in self.options:
            if option not in known:  # diffusers would ignore it
                raise ConfigError(
                    f"scheduler.options.{option} is no option of {self.type}; use one of: {', '.join(known)}"
                )
        scheduler: SchedulerMixin = kind.from_config(scheduler_config, **self.options)
        return scheduler

    def start(self, scheduler_config: dict[str, Any], device: "torch.device | str" = "cpu") -> "SchedulerMixin":
        """As `build`, with the timesteps set; ConfigError when the model was trained with too few for so many steps."""
        scheduler = self.build(scheduler_config)
        scheduler.set_timesteps(self.steps, device=device)
        trained = scheduler.config["num_train_timesteps"]
        # Spaced too closely, schedulers leave the trained range or come back to the same timestep.
        if scheduler.timesteps.max() >= trained or len(scheduler.timesteps.unique()) < self.steps:
            raise ConfigError(
                f"scheduler.steps={self.steps} is too many for {self.type} with {trained} training timesteps; "
                f"use at most scheduler.steps={trained // 2}"
            )
        return scheduler


@dataclass
class Guidance:
    """Classifier-free guidance (Ho and Salimans 2022)."""

    scale: float = 7.5
    """Guidance scale w: prediction = uncond + w (cond - uncond). 1 means none, and halves the work."""
    negative_prompt: Optional[str] = None
    """What the unconditional half is given; null: the empty prompt."""

    def validate(self) -> None:
        """Raise ConfigError for values that no run could use."""
        if not math.isfinite(self.scale) or not 0 <= self.scale <= 100:
            raise ConfigError(f"cfg.scale={self.scale} is not between 0 and 100; use e.g. cfg.scale=7.5")

    @property
    def active(self) -> bool:
        """Whether the unconditional half is needed (diffusers' rule: only above 1)."""
        return self.scale > 1
