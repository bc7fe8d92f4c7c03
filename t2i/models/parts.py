"""The parts of one pipeline in memory: networks and tokenizers by name, and the family that knows what they do."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline, SchedulerMixin
    from torch import nn

    from t2i.models.families.family import Family


@dataclass
class Models:
    """The parts of one pipeline. `digest` identifies the base weights, `tuned` what was loaded on top of them."""

    name: str
    family: "Family"
    modules: "dict[str, nn.Module]"
    """The networks, by the names that diffusers gives their folders."""
    tokenizers: dict[str, Any]
    scheduler_config: dict[str, Any]
    resolution: int
    digest: str
    tuned: str = ""
    offloaded_from: "torch.device | None" = None
    """The device that computes, when the networks stay on the CPU until they are needed."""
    moved_to: "torch.dtype | None" = None
    """What `to` was told last."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the pipeline's index says of the family's `options`."""
    words: dict[str, str] = field(default_factory=dict)
    """Words of textual inversions, each with its tokens as a prompt has to name them."""

    @property
    def denoiser(self) -> Any:
        """The network that predicts: a U-Net or a transformer."""
        return self.modules[self.family.denoiser]

    @property
    def unet(self) -> Any:
        """The denoiser of a family that has a U-Net; KeyError in another."""
        return self.modules["unet"]

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        return self.modules["vae"]

    @property
    def text_encoder(self) -> Any:
        """The first one."""
        return self.modules["text_encoder"]

    @property
    def tokenizer(self) -> Any:
        """Of the first text encoder."""
        return self.tokenizers["tokenizer"]

    @property
    def longest(self) -> int:
        """Tokens of a caption that are read, of its first tokenizer."""
        return int(self.family.longest or self.tokenizer.model_max_length)

    @property
    def device(self) -> "torch.device":
        """Where the networks compute."""
        return self.offloaded_from or next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> "torch.dtype":
        """In which the frozen networks compute: that of the autoencoder, which never trains, unless it is kept in float32."""
        kind: torch.dtype = next(self.vae.parameters()).dtype
        return (self.moved_to or kind) if "vae" in self.family.float32 else kind

    @contextlib.contextmanager
    def on_device(self, *names: str) -> Iterator[None]:
        """Inside, these networks are where they compute; only offloaded ones have to travel."""
        moved = [self.modules[name] for name in names] if self.offloaded_from is not None else []
        for network in moved:
            network.to(self.offloaded_from)
        try:
            yield
        finally:
            for network in moved:
                network.to("cpu")

    def latent_shape(self, count: int) -> tuple[int, ...]:
        """Of so many pictures: (count, channels, height, width)."""
        return self.family.latent_shape(self, count)

    def schedule(self) -> dict[str, Any]:
        """The configuration of a scheduler that draws pictures of `resolution`."""
        return self.family.schedule(self, self.resolution)

    def grid(self, steps: int) -> dict[str, Any]:
        """What `set_timesteps` is told beside the number of steps, for pictures of `latent_shape`."""
        return self.family.grid(self, steps)

    def scheduler(self) -> "SchedulerMixin":
        """What a pipeline draws with unless it is told otherwise."""
        return self.family.scheduler(self)

    def pipeline(self) -> "DiffusionPipeline":
        """The same networks as a plain diffusers pipeline."""
        return self.family.pipeline(self)

    def to(self, device: "torch.device | str", dtype: "torch.dtype") -> "Models":
        """Move everything; frozen parameters take `dtype`, those that require a gradient and networks that the family keeps
        there stay float32.
        """
        import torch

        self.moved_to = dtype
        for name, network in self.modules.items():
            network.to(device)
            for parameter in network.parameters():
                kept = parameter.requires_grad or name in self.family.float32
                parameter.data = parameter.data.to(torch.float32 if kept else dtype)
        return self

    def freeze(self) -> "Models":
        """No parameter requires a gradient, and dropout is off."""
        for network in self.modules.values():
            network.requires_grad_(False).eval()
        return self
