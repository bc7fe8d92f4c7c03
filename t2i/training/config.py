"""How to train: the structured configuration of the `training` key."""

import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Optional

from t2i.data.wording import CaptionRule
from t2i.errors import ConfigError


class Optimizer(Enum):
    """Which update rule."""

    adamw = "adamw"
    sgd = "sgd"
    adafactor = "adafactor"
    adamw_8bit = "adamw_8bit"
    prodigy = "prodigy"


class LearningRate(Enum):
    """How the learning rate goes over the steps, after the warm-up."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"


class Timesteps(Enum):
    """How often each noise level is trained."""

    uniform = "uniform"
    logit_normal = "logit_normal"


class Prior(Enum):
    """What keeps the rest of the model as it was, while a few pictures are learned."""

    base = "base"
    pictures = "pictures"


class NonFinite(Enum):
    """What a step does whose gradient is not finite; it never changes a parameter."""

    stop = "stop"
    skip = "skip"


@dataclass
class Training:
    """The optimisation: how long, how many pictures a step, which rule."""

    steps: int = 150
    """Number of optimizer steps."""
    epochs: Optional[float] = None
    """Passes over the training pictures; when given, it decides the number of steps."""
    images: Optional[int] = None
    """At most this many of the prepared training pictures, drawn by lot, always the same ones; null: all."""
    batch_size: int = 16
    """Pictures per optimizer step, over all processes and micro-batches together."""
    micro_batch: Optional[int] = None
    """Pictures per forward pass of one process; null: batch_size / processes."""
    optimizer: Optimizer = Optimizer.adamw
    """adamw (Loshchilov and Hutter 2017), sgd (momentum 0.9), adafactor (Shazeer and Stern 2018), adamw_8bit (needs
    bitsandbytes and a GPU), prodigy (needs prodigyopt; strategy.learning_rate=1)."""
    weight_decay: float = 0.01
    """Decoupled weight decay (adamw) or L2 penalty (sgd)."""
    schedule: LearningRate = LearningRate.cosine
    """Shape of the learning rate after the warm-up."""
    warmup: int = 10
    """Steps over which the learning rate rises linearly from 0; half of the steps where there are no more than that."""
    clip_norm: Optional[float] = 1.0
    """Largest norm of the whole gradient; null: not clipped."""
    caption_dropout: float = 0.1
    """Share of captions replaced by the empty one, for classifier-free guidance."""
    captions: CaptionRule = field(default_factory=CaptionRule)
    """How captions are worded for training; pictures are generated from prompts as they are given."""
    flip: bool = False
    """Show every second picture mirrored. Not for data in which left and right, or text, matter."""
    prior: Optional[Prior] = None
    """Beside the data, a share of every batch holds the model to what it was, by dataset.regularisation: base (its own
    prediction of before is the target), pictures (class pictures that it draws first; Ruiz et al. 2023); null: nothing."""
    prior_weight: float = 1.0
    """How much their mean loss counts beside that of the data."""
    prior_share: float = 0.5
    """Share of a batch that they have, one picture at least."""
    prior_images: int = 200
    """Class pictures that training.prior=pictures draws, with scheduler and cfg as configured."""
    cache_latents: bool = True
    """Encode every picture once and keep its latents in the store; false: encode it in every step."""
    cache_text: bool = True
    """The same for captions, while the text encoder is frozen."""
    min_snr_gamma: Optional[float] = None
    """Loss weight min(SNR, gamma) / SNR (Hang et al. 2023); null: plain mean squared error."""
    noise_offset: float = 0.0
    """Standard deviation of a constant that is added to each channel of the noise, for very dark and bright pictures."""
    zero_terminal_snr: bool = False
    """Rescale the noise schedule so that the last timestep is pure noise (Lin et al. 2023); velocity prediction only."""
    timesteps: Timesteps = Timesteps.uniform
    """uniform, or logit_normal (middle levels more often; Esser et al. 2024)."""
    timestep_range: list[int] = field(default_factory=lambda: [0, 1000])
    """First timestep that is trained, and the one after the last."""
    ema: Optional[float] = None
    """Decay of an exponential moving average of the weights, e.g. 0.999; it is evaluated and exported. Null: none."""
    nonfinite: NonFinite = NonFinite.stop
    """stop, or skip (at most 10 steps of a training)."""
    export_best: bool = False
    """Export the checkpoint with the lowest held-out loss instead of the last step."""
    milestones: list[int] = field(default_factory=list)
    """Steps whose checkpoints are kept for good; task=curve, and the report of a pipeline, measure each of them."""
    attention_slicing: bool = False
    """Attention one head at a time: less memory, slower."""
    channels_last: bool = False
    """Lay out the U-Net for convolutions with channels last: faster in half precision on a GPU."""
    compile: bool = False
    """torch.compile the U-Net's transformer and residual blocks: minutes at the first start, faster steps on a GPU."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, 25 to 35 % slower."""
    seed: int = 0
    """Of sample order, noise, timesteps, caption choice and caption dropout."""
    save_every: int = 100
    """Steps between checkpoints."""
    keep: int = 2
    """How many checkpoints are kept (at least 2: one may be damaged)."""
    log_every: int = 5
    """Steps between lines of train_log.csv (the loss is read from the device only then)."""
    held_out_images: int = 64
    """Pictures behind the held-out loss, measured before and after (fixed noise and timesteps)."""
    validation_images: int = 4
    """Pictures drawn before, at every checkpoint and after, always from the same prompts and seeds, and scored by CLIP
    (eval.extractor); 0: none."""
    validation_prompts: list[str] = field(default_factory=list)
    """Prompts of these pictures, taken in turn; []: held-out captions."""
    resume: str = "auto"
    """auto: continue from the newest intact checkpoint of the same training. never: start afresh; a finished training, which
    would come out the same, is done again only for milestones or validation pictures that it does not have. A run folder, or a
    folder step_<n> below its checkpoints: start from there."""
    resume_force: bool = False
    """Start from the checkpoint that `resume` names although it was written under another configuration: its weights, the
    optimizer's moments and the step are taken over, everything else is as configured now."""
    export_pipeline: bool = True
    """Also write the whole tuned pipeline in diffusers' layout (as large as the model)."""

    def flow_refusal(self, model: str) -> Optional[str]:
        """A sentence about the key that is set and has no meaning for a model of flow matching; None where none is."""
        asked = {
            "min_snr_gamma": ("null", self.min_snr_gamma is not None),
            "noise_offset": ("0", self.noise_offset != 0),
            "zero_terminal_snr": ("false", self.zero_terminal_snr),
        }
        for key, (none, given) in asked.items():
            if given:
                return (
                    f"training.{key} has no meaning for model={model}, which is trained by flow matching: its paths end in "
                    f"pure noise, and all times have the same weight; use training.{key}={none} (training.timesteps and "
                    "training.timestep_range choose noise levels)"
                )
        return None

    def validate(self, processes: int) -> None:
        """Raise ConfigError for values that no run could use."""
        if self.steps < 1:
            raise ConfigError(f"training.steps={self.steps} is not a positive number; use e.g. training.steps=150")
        if self.batch_size < 1:
            raise ConfigError(
                f"training.batch_size={self.batch_size} is not a positive number; use e.g. training.batch_size={processes}"
            )
        if self.batch_size % processes:
            raise ConfigError(
                f"training.batch_size={self.batch_size} cannot be shared by {processes} processes; use a multiple of {processes}"
            )
        if self.images is not None and self.images < 1:
            raise ConfigError(f"training.images={self.images} is not a positive number; use e.g. training.images=2000")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ConfigError(
                f"training.micro_batch={self.micro_batch} is not a positive number; use e.g. training.micro_batch=4"
            )
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise ConfigError(f"training.epochs={self.epochs} is not a positive number; use e.g. training.epochs=2")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"training.clip_norm={self.clip_norm} would stop all learning; use e.g. 1.0, or null")
        if self.min_snr_gamma is not None and not self.min_snr_gamma > 0:
            raise ConfigError(f"training.min_snr_gamma={self.min_snr_gamma} would leave no loss; use e.g. 5, or null")
        counts = (self.warmup, self.held_out_images, self.validation_images)
        if min(counts) < 0 or not 0 <= self.weight_decay < math.inf:
            raise ConfigError(
                "training.warmup, training.held_out_images, training.validation_images and training.weight_decay cannot "
                "be negative"
            )
        if not 0 <= self.caption_dropout <= 1:
            raise ConfigError(f"training.caption_dropout={self.caption_dropout} is not in [0, 1]; use e.g. 0.1")
        self._validate_objective()
        self._validate_prior()
        if self.keep < 2:
            raise ConfigError(
                f"training.keep={self.keep} would leave no spare when the newest is damaged; use training.keep=2"
            )
        if self.save_every < 1 or self.log_every < 1:
            raise ConfigError(
                "training.save_every and training.log_every must be positive; use e.g. training.save_every=100"
            )

    def _validate_objective(self) -> None:
        self.captions.validate("training.captions")
        if not 0 <= self.noise_offset < 1:
            raise ConfigError(f"training.noise_offset={self.noise_offset} is not in [0, 1); use e.g. 0.05")
        if len(self.timestep_range) != 2 or not 0 <= self.timestep_range[0] < self.timestep_range[1] <= 1000:
            raise ConfigError(
                f"training.timestep_range={self.timestep_range} is not two growing numbers from 0 to 1000; use [0,1000]"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"training.ema={self.ema} is not between 0 and 1; use e.g. 0.999, or null")
        if any(step < 1 for step in self.milestones):
            raise ConfigError(f"training.milestones={self.milestones} holds a step below 1; use e.g. [100,200]")
        if self.resume not in ("auto", "never") and not Path(self.resume).expanduser().is_dir():
            raise ConfigError(
                f"training.resume={self.resume} is neither auto, never, nor a folder; use a run folder with checkpoints"
            )
        if self.resume_force and self.resume in ("auto", "never"):
            raise ConfigError(
                f"training.resume_force=true with training.resume={self.resume} has nothing to force; name the checkpoint: "
                "training.resume=<run folder>"
            )
        if self.export_best and self.held_out_images < 1:
            raise ConfigError("training.export_best=true needs a held-out loss; use e.g. training.held_out_images=64")

    def _validate_prior(self) -> None:
        if not 0 <= self.prior_weight < math.inf:
            raise ConfigError(f"training.prior_weight={self.prior_weight} is not a number from 0; use e.g. 1.0")
        if not 0 < self.prior_share < 1:
            raise ConfigError(f"training.prior_share={self.prior_share} is not between 0 and 1; use e.g. 0.5")
        if self.prior_images < 1:
            raise ConfigError(f"training.prior_images={self.prior_images} is not a positive number; use e.g. 200")
        if self.prior is not None and self.batch_size < 2:
            raise ConfigError(
                f"training.batch_size={self.batch_size} has no room for training.prior={self.prior.value}, which takes a share "
                "of every batch; use training.batch_size=2 or more (training.micro_batch=1 needs no more memory)"
            )

    def total_steps(self, images: int) -> int:
        """Optimizer steps for `images` training pictures."""
        if self.epochs is None:
            return self.steps
        return max(1, round(self.epochs * images / (self.batch_size - self.prior_count)))

    @property
    def prior_count(self) -> int:
        """Pictures of a batch that hold the model to what it was."""
        return 0 if self.prior is None else min(self.batch_size - 1, max(1, round(self.prior_share * self.batch_size)))

    def warmup_steps(self, total: int) -> int:
        """Of a training of `total` steps: a warm-up that would not end before it does takes half of them."""
        return self.warmup if self.warmup < total else total // 2

    def result_slice(self, total: Optional[int] = None) -> dict[str, object]:
        """The fields that change the trained weights: a training, of `total` steps, is addressed by them."""
        operational = {
            *(
                "keep",
                "log_every",
                "resume",
                "resume_force",
                "export_pipeline",
                "micro_batch",
                "attention_slicing",
                "channels_last",
                "compile",
            ),
            *("cache_latents", "cache_text", "milestones", "validation_images", "validation_prompts"),
        }
        if not self.export_best:  # otherwise they decide which step is exported
            operational |= {"save_every", "held_out_images"}
        if self.prior is None:  # said where they act: finished trainings have their address
            operational |= {"prior", "prior_weight", "prior_share"}
        if self.prior is not Prior.pictures:
            operational.add("prior_images")
        values = {key: value for key, value in vars(self).items() if key not in operational}
        if total is not None:
            values["warmup"] = self.warmup_steps(total)
        return {key: _plain(value) for key, value in values.items()}


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    return vars(value) if isinstance(value, CaptionRule) else value
