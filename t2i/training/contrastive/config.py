"""How to tune a CLIP: the structured configuration of the `clip` key."""

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from t2i.errors import ConfigError

BUNDLED, RANDOM = "bundled", "random"


class Towers(Enum):
    """Which encoders train."""

    both = "both"
    image = "image"
    text = "text"


class Projection(Enum):
    """Which linear layers bring both encoders to one width."""

    own = "own"
    fresh = "fresh"


class Targets(Enum):
    """Which captions of a batch are right for a picture."""

    multi_positive = "multi_positive"
    diagonal = "diagonal"


@dataclass
class ClipTuning:
    """Contrastive tuning of a CLIP, its measurement, and its use in generation."""

    source: str = BUNDLED
    """The CLIP to start from: `bundled` (tiny_clip), a folder, a hub id (`owner/name[@revision]`), or `random` (the
    bundled one's architecture with new weights)."""
    text_from_model: bool = False
    """Start the text tower from the text encoder of `model`, with a fresh projection: then it can take its place."""
    towers: Towers = Towers.both
    """both, image or text: which encoders train; fresh projections train in any case."""
    projection: Projection = Projection.own
    """own: the model's projections go on. fresh: new ones on both encoders."""
    rank: Optional[int] = None
    """Rank of low-rank adapters on the attention projections, merged when saved; null: the towers train in full."""
    targets: Targets = Targets.multi_positive
    """multi_positive: every caption of the batch that a picture has is right. diagonal: only the one drawn for it."""
    batch_size: int = 64
    """Pairs per step, over all processes: each is compared with all."""
    chunk: Optional[int] = None
    """Pairs that one process encodes at once (gradient cache); null: all of its own. Changes memory, not the result."""
    epochs: int = 5
    """Passes over the training pictures; each shows one caption of a picture."""
    learning_rate: float = 2e-4
    """Peak learning rate, of the layers nearest to the output."""
    head_learning_rate: Optional[float] = None
    """Peak learning rate of fresh projections; null: the same."""
    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one below it; 1: all alike."""
    weight_decay: float = 0.01
    """Decoupled weight decay of matrices; gains, biases and the temperature have none."""
    warmup: int = 10
    """Steps over which the learning rate rises linearly from 0, before it falls as a cosine."""
    max_logit_scale: float = 100.0
    """Upper bound of the learned inverse temperature (Radford et al. 2021: 100)."""
    seed: int = 0
    """Of order, choice of captions and fresh weights."""
    keep: int = 2
    """Checkpoints kept, one an epoch; the oldest go."""
    every_epoch: bool = False
    """Also leave the CLIP of every epoch, each as large as the whole, in epochs/epoch_<n> of the run folder."""
    resume: str = "auto"
    """auto: go on where an interrupted run with this configuration stopped. never: begin anew."""
    images: Optional[int] = None
    """Held-out pictures that are measured; null: all."""
    forgetting: list[str] = field(default_factory=list)
    """Overrides that name a set it was not tuned on, e.g. ["dataset=scenes"]: zero-shot there, before and after."""
    generate: int = 0
    """Pictures for comparing generation with the base and the tuned text encoder; 0: none."""

    def validate(self, processes: int = 1) -> None:
        """Raise ConfigError for values that no run could use."""
        for key, least in (("batch_size", 2), ("epochs", 1), ("keep", 2), ("generate", 0), ("warmup", 0)):
            if getattr(self, key) < least:
                raise ConfigError(f"clip.{key}={getattr(self, key)} is below {least}; use e.g. clip.{key}={least}")
        for key in ("rank", "chunk", "images"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"clip.{key}={value} is not a positive number; use e.g. clip.{key}=8, or null")
        for key in ("learning_rate", "head_learning_rate"):
            value = getattr(self, key)
            if value is not None and not 0 < value < 1:
                raise ConfigError(f"clip.{key}={value} is not between 0 and 1; use e.g. clip.{key}=1e-5")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"clip.layer_decay={self.layer_decay} is not above 0 and at most 1; use e.g. 0.9")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"clip.weight_decay={self.weight_decay} is not a number from 0; use e.g. 0.01")
        if not 1 <= self.max_logit_scale < math.inf:
            raise ConfigError(f"clip.max_logit_scale={self.max_logit_scale} is not a number from 1; use 100")
        if self.resume not in ("auto", "never"):
            raise ConfigError(f"clip.resume={self.resume} is neither auto nor never")
        if self.generate == 1:
            raise ConfigError("clip.generate=1 leaves nothing to compare; use clip.generate=0, or 2 pictures and more")
        if self.head_learning_rate is not None and not self.fresh:
            raise ConfigError(
                f"clip.head_learning_rate={self.head_learning_rate} is for fresh projections; use clip.projection=fresh"
            )
        if self.batch_size % processes:
            raise ConfigError(
                f"clip.batch_size={self.batch_size} cannot be shared by {processes} processes; use a multiple of {processes}"
            )

    @property
    def fresh(self) -> bool:
        """Whether a projection starts anew."""
        return self.projection is Projection.fresh or self.text_from_model or self.source == RANDOM

    def result_slice(self) -> dict[str, object]:
        """The fields that change the tuned weights: a tuning is addressed by them."""
        operational = {"source", "chunk", "keep", "resume", "images", "forgetting", "generate"}
        if not self.every_epoch:  # otherwise a tuning without them would be taken for this one
            operational |= {"every_epoch"}
        values = {key: value for key, value in vars(self).items() if key not in operational}
        return {key: value.value if isinstance(value, Enum) else value for key, value in values.items()}
