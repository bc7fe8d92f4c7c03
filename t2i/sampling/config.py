"""Which scheduler, how much guidance, and how to compute: the `scheduler` and `cfg` groups and the `sampling` key."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Optional

from t2i.errors import ConfigError
from t2i.models import prompt_weights
from t2i.models.families.family import FLOW
from t2i.places import PROJECT
from t2i.sampling.engine import Engine
from t2i.sampling.grid import FLOW_SIGMAS, Grid, most_steps, place

if TYPE_CHECKING:
    import torch
    from diffusers import SchedulerMixin

    from t2i.models.parts import Models


ZERO_SNR = "rescale_betas_zero_snr"
"""Of a scheduler's configuration (Lin et al. 2023, algorithm 1)."""


DISTILLED = {"LCMScheduler": ("original_inference_steps", 50)}
"""Schedulers for distilled models, by class: the option that says how many steps were distilled, and what it is by default.
They take no more (Luo et al. 2023, section 4.3)."""


class Spacing(Enum):
    """Which of the trained timesteps are visited (Lin et al. 2023, table 2)."""

    leading = "leading"
    linspace = "linspace"
    trailing = "trailing"


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
    spacing: Optional[Spacing] = None
    """Which timesteps: leading, linspace, or trailing (starts at pure noise); null: as the model's configuration says."""
    options: dict[str, Any] = field(default_factory=dict)
    """Overrides of the model's own noise-schedule configuration."""

    def validate(self) -> None:
        """Raise ConfigError for values that no run could use."""
        if not 1 <= self.steps <= 1000:
            raise ConfigError(f"scheduler.steps={self.steps} is not between 1 and 1000; use e.g. scheduler.steps=50")
        option, most = DISTILLED.get(self.type, ("", self.steps))
        most = self.options.get(option, most)
        if isinstance(most, int) and self.steps > most:
            raise self._too_many(most)
        if not 0 <= self.eta <= 1:
            raise ConfigError(f"scheduler.eta={self.eta} is not in [0, 1]; use scheduler.eta=0")

    def _too_many(self, most: int) -> ConfigError:
        return ConfigError(
            f"scheduler.steps={self.steps} is too many for scheduler={self.name} ({self.type}); "
            f"use at most scheduler.steps={most}"
        )

    @classmethod
    def by_class(cls, kind: str, scheduler_config: Mapping[str, Any], steps: int) -> "Scheduler":
        """A class of diffusers as a model with this noise schedule needs it."""
        import inspect

        import diffusers

        either = FLOW_SIGMAS in inspect.signature(getattr(diffusers, kind)).parameters
        flow = either and scheduler_config.get("prediction_type") == FLOW
        return cls(kind, kind, steps, options={FLOW_SIGMAS: True} if flow else {})

    @property
    def flows(self) -> bool:
        """Whether it goes along the paths of flow matching; the others undo diffusion."""
        return self.type.startswith("FlowMatch") or bool(self.options.get(FLOW_SIGMAS))

    def refuse_unlike(self, flow: bool, model: str = "") -> None:
        """ConfigError where a model was trained by flow matching and the scheduler undoes diffusion, or the other way."""
        if self.flows is not flow:
            wants, does = ("follows a flow", "undoes diffusion") if flow else ("undoes diffusion", "follows a flow")
            raise ConfigError(
                f"scheduler={self.name} ({self.type}) {does}, and the model{model and f'={model}'} needs one that {wants}; use "
                f"one of: {', '.join(name for name, one in shipped().items() if one.flows is flow)}"
            )

    def build(self, scheduler_config: dict[str, Any]) -> "SchedulerMixin":
        """The scheduler for a model's noise schedule; ConfigError when diffusers has no such scheduler or option, when it would
        ignore a terminal SNR of zero that the model was trained with, or when it is for another objective.
        """
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
        self.refuse_unlike(scheduler_config.get("prediction_type") == FLOW)
        options = dict(self.options)
        if self.spacing is not None:
            if "timestep_spacing" not in known:
                raise ConfigError(f"scheduler.spacing={self.spacing.value} is unknown to {self.type}; use spacing=null")
            options["timestep_spacing"] = self.spacing.value
        if (scheduler_config | options).get(ZERO_SNR) and ZERO_SNR not in known:
            raise ConfigError(
                f"scheduler={self.name} ignores that the model was trained with a terminal SNR of zero, and its pictures would "
                f"be washed out; use one of: {', '.join(_taking(ZERO_SNR))}"
            )
        scheduler: SchedulerMixin = kind.from_config(scheduler_config, **options)
        return scheduler

    def start(self, scheduler_config: dict[str, Any], grid: "Grid" = lambda steps: {}) -> "SchedulerMixin":
        """As `build`, with the timesteps set, on the CPU; ConfigError when the scheduler cannot take so many steps, or not the
        grid. grid: what a model asks for beside their number (`Models.grid`).
        """
        scheduler = self.build(scheduler_config)
        self._refuse_grid(scheduler, grid)
        try:
            sound = place(scheduler, self.steps, grid)
        except ValueError as error:
            raise self._too_many(most_steps(scheduler, self.steps, grid)) from error
        if not sound:
            trained = scheduler.config["num_train_timesteps"]
            most = most_steps(scheduler, self.steps, grid) if self.flows else trained // 2
            raise ConfigError(
                f"scheduler.steps={self.steps} is too many for {self.type} with {trained} training timesteps; "
                f"use at most scheduler.steps={most}"
            )
        return scheduler

    def _refuse_grid(self, scheduler: "SchedulerMixin", grid: "Grid") -> None:
        """ConfigError where the scheduler cannot be told the shift that a model asks for."""
        import inspect

        import diffusers

        def taking(kind: Any) -> bool:
            return set(grid(1)) - {"sigmas"} <= set(inspect.signature(kind.set_timesteps).parameters)

        if not taking(type(scheduler)):
            named = [
                n for n, one in shipped().items() if one.flows is self.flows and taking(getattr(diffusers, one.type))
            ]
            raise ConfigError(
                f"scheduler={self.name} ({self.type}) has one shift for every size and number of steps, and this model asks for "
                f"its own; use one of: {', '.join(named)}"
            )


def _taking(option: str) -> list[str]:
    """The names of our schedulers whose class knows an option."""
    import inspect

    import diffusers

    return [
        name for name, one in shipped().items() if option in inspect.signature(getattr(diffusers, one.type)).parameters
    ]


@cache
def shipped() -> dict[str, Scheduler]:
    """Every scheduler of conf/scheduler, by name."""
    import yaml

    files = sorted((PROJECT / "conf" / "scheduler").glob("*.yaml"))
    read = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files}
    return {name: Scheduler(name, values["type"], options=values.get("options") or {}) for name, values in read.items()}


@dataclass
class Guidance:
    """Classifier-free guidance (Ho and Salimans 2022)."""

    scale: float = 7.5
    """Guidance scale w: prediction = uncond + w (cond - uncond). 1 means none, and halves the work."""
    negative_prompt: Optional[str] = None
    """What the unconditional half is given; null: the empty prompt."""
    rescale: float = 0.0
    """Share in which the guided prediction takes the standard deviation of the conditional one, against overexposure at
    high scales (Lin et al. 2023, section 3.4; 0.7 there)."""
    interval: list[float] = field(default_factory=lambda: [0.0, 1000.0])
    """Lowest and highest timestep with guidance (Kynkaanniemi et al. 2024, there in noise levels); outside of it the
    unconditional half is not computed. Fewer evaluations, other pictures."""
    prompt_weights: bool = False
    """Whether words of prompts may have weights, (word)1.3 or word++, as compel reads them; false: brackets are letters."""

    def validate(self) -> None:
        """Raise ConfigError for values that no run could use."""
        if not math.isfinite(self.scale) or not 0 <= self.scale <= 100:
            raise ConfigError(f"cfg.scale={self.scale} is not between 0 and 100; use e.g. cfg.scale=7.5")
        if not 0 <= self.rescale <= 1:
            raise ConfigError(f"cfg.rescale={self.rescale} is not in [0, 1]; use e.g. cfg.rescale=0.7")
        if len(self.interval) != 2 or not 0 <= self.interval[0] <= self.interval[1] < math.inf:
            raise ConfigError(
                f"cfg.interval={self.interval} is not two growing timesteps; use e.g. cfg.interval=[200,800]"
            )
        if self.prompt_weights:
            prompt_weights.require()

    @property
    def active(self) -> bool:
        """Whether the unconditional half is ever needed (diffusers' rule: only above 1)."""
        return self.scale > 1

    def acts_at(self, timestep: float) -> bool:
        """Whether the unconditional half is needed at this timestep."""
        return self.active and self.interval[0] <= timestep <= self.interval[1]

    def combine(self, unconditional: "torch.Tensor", conditional: "torch.Tensor") -> "torch.Tensor":
        """The guided prediction, (n, channels, height, width), of both halves in the same shape."""
        guided = unconditional + self.scale * (conditional - unconditional)
        if self.rescale == 0:
            return guided
        axes = list(range(1, guided.ndim))
        level = guided * (conditional.std(axes, keepdim=True) / guided.std(axes, keepdim=True))
        return self.rescale * level + (1 - self.rescale) * guided


@dataclass
class Sampling:
    """How pictures are computed; none of these changes a picture by more than rounding."""

    engine: Engine = Engine.torch
    """torch; or openvino, on CPUs in float32 or bf16: networks converted once, tuned weights merged, and kept in the store."""

    keep_text: bool = True
    """Compute keys and values of a batch's texts once and not in every step."""
    channels_last: Optional[bool] = None
    """Lay the networks out for convolutions with channels last; null: where that was measured to be faster, on CPUs."""
    compile: bool = False
    """torch.compile the U-Net's transformer and residual blocks: minutes at the first start, faster steps on a GPU."""
    attention_slicing: bool = False
    """Attention one head at a time: less memory, slower."""
    vae_slicing: bool = False
    """Decode pictures one by one: less memory."""
    vae_tiling: bool = False
    """Decode large pictures in tiles: less memory, seams of a few grey levels."""
    cpu_offload: bool = False
    """Keep each network on the GPU only while it computes: fits small cards, slower."""

    @property
    def keeps_text(self) -> bool:
        """Whether `keep_text` applies: compiled blocks would be compiled again for every batch."""
        return self.keep_text and not self.compile

    def apply(self, models: "Models") -> None:
        """Set networks up that are on their device already."""
        from t2i.models.memory_format import lay_out

        lay_out(models, self.channels_last)
        if self.compile:
            from t2i.models.blocks import compile_blocks

            compile_blocks(models.denoiser)
        if self.attention_slicing:
            if not hasattr(models.denoiser, "set_attention_slice"):
                raise ConfigError(
                    f"sampling.attention_slicing has no meaning for model={models.name}, a {models.family.spoken}; use "
                    "sampling.attention_slicing=false and, for less memory, a smaller batch_size or sampling.cpu_offload=true"
                )
            models.denoiser.set_attention_slice("auto")
        if self.vae_slicing:
            models.vae.enable_slicing()
        if self.vae_tiling:
            models.vae.enable_tiling()
