"""Which latent diffusion model: the structured configuration of the `model` group."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from t2i.errors import ConfigError


class Init(Enum):
    """Where the weights come from."""

    pretrained = "pretrained"
    random = "random"


@dataclass
class Model:
    """A latent diffusion model: text encoders, variational autoencoder, denoiser, noise schedule."""

    name: str = "???"
    """Short name for tables and file names."""
    source: str = "???"
    """A folder in diffusers' pipeline layout (whole files, shards, or a variant such as fp16), a single-file .safetensors
    checkpoint in the original layout, or a hub id such as CompVis/stable-diffusion-v1-4."""
    revision: Optional[str] = None
    """Commit, tag or branch on the hub; pinned, so that a run can be repeated."""
    license: str = "other"
    """Licence of the weights by the hub's name for it; tuned weights are under the same terms."""
    init: Init = Init.pretrained
    """pretrained: load the weights. random: build the network from `architecture` with fresh weights (benchmarks, counts)."""
    architecture: Optional[str] = None
    """Name of a file in t2i/models/architectures, or a folder in diffusers' pipeline layout: the settings of a network that is
    built without weights (init=random), or of a single-file checkpoint whose shapes are not bundled."""
    without: list[str] = field(default_factory=list)
    """Networks that are neither fetched nor loaded, where the model can do without: [text_encoder_3] leaves T5 out of Stable
    Diffusion 3, 4.8 of its 8 thousand million parameters, and what it says of long captions."""
    resolution: int = 512
    """Height and width in pixels that the model was trained for; pictures are sampled at this size."""
    tokens: int = 77
    """Expected tokens of a caption (checked by task=verify)."""
    width: int = 768
    """Expected width of the text states handed to the U-Net (checked by task=verify)."""
    cross_attention_layers: int = 16
    """Expected number of cross-attention layers in the U-Net (checked by task=verify)."""
    parameters: dict[str, int] = field(default_factory=dict)
    """Expected parameter counts by module, e.g. unet, vae, text_encoder, text_encoder_2 (checked by task=verify)."""

    def validate(self) -> None:
        """Raise ConfigError for values that no run could use."""
        if self.init is Init.random and not self.architecture:
            raise ConfigError(
                f"model.init=random needs model.architecture, and model={self.name} has none; use model=sd15"
            )
        if self.resolution % 8:
            raise ConfigError(
                f"model.resolution={self.resolution} is not a multiple of 8; use e.g. model.resolution="
                f"{max(1, round(self.resolution / 8)) * 8}"
            )
