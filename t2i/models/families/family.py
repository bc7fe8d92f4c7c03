"""What a model family is.

A family says where text goes: how captions become what the denoiser reads, how pictures become latents and back, and what
plain diffusers calls all that. Noise (`t2i/training/objective.py`), steps (`t2i/sampling`) and what trains
(`t2i/training/strategies.py`) ask it, so nothing outside of a family's own file and its YAML knows its name. Light to import.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Optional, final

from t2i.errors import ConfigError
from t2i.models.families.moments import drawn
from t2i.models.families.picture import Picture

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, SchedulerMixin
    from torch import Tensor, nn

    from t2i.models.parts import Models
    from t2i.models.safetensors_file import Header

Conditions = dict[str, "Tensor"]
"""Rows by name, batch first, e.g. states (n, tokens, width): what the denoiser reads of captions. Cacheable as they are."""

FLOW = "flow_prediction"
"""Of a scheduler's configuration, as its prediction_type: what a denoiser that was trained by flow matching predicts."""


class Family:
    """A way from text to pictures that several models share: one subclass and one file each.

    Everything here holds for latent diffusion with an autoencoder of Kullback and Leibler's kind; a subclass fills in what is
    left, and overrides what is otherwise with it.
    """

    title: ClassVar[str]
    """As a sentence names it."""
    pipelines: ClassVar[tuple[str, ...]]
    """By these classes of diffusers a folder's `model_index.json` tells the family; the first is its own."""
    networks: ClassVar[Mapping[str, str]]
    """Folder to class, in diffusers or transformers, in the order in which random weights are drawn."""
    tokenizers: ClassVar[Mapping[str, str]]
    """The same for tokenizers."""
    denoiser: ClassVar[str]
    """The network that trains, and its folder: unet or transformer."""
    encoders: ClassVar[tuple[str, ...]]
    """The networks that `read` needs."""
    objective: ClassVar[str]
    """What its denoiser was trained to predict, by its name in `OBJECTIVES` (`t2i/training/objective.py`)."""
    reads_sizes: ClassVar[bool] = False
    """Whether `predict` reads the sizes of a `Picture`."""
    schedulers: ClassVar[tuple[str, str]]
    """Two of diffusers that it can be drawn with, unlike each other: `task=verify` compares with the pipeline under both."""
    absent: ClassVar[tuple[str, ...]] = ()
    """Parts of its pipeline that it lacks and whose absence plain diffusers has to be told: `from_pretrained(..., part=None)`."""
    float32: ClassVar[tuple[str, ...]] = ()
    """Networks that half precision would break."""
    targets: ClassVar[Mapping[str, tuple[str, ...]]]
    """By network: suffixes of the layers that a LoRA usually adapts; of the denoiser, the preset `attention`."""
    wider: ClassVar[tuple[str, ...]]
    """Suffixes of the denoiser's layers that the preset `all` adapts beside those."""
    text_projections: ClassVar[tuple[str, ...]] = ()
    """Suffixes of the denoiser's layers that read text and nothing else: their output is the same in every step."""
    kohya: ClassVar[Mapping[str, str]] = {}
    """By network: what sd-scripts writes before a layer's path; empty where its names are not those of diffusers' layers."""
    kohya_base: ClassVar[str] = ""
    """sd-scripts' name of the family."""
    longest: ClassVar[int | None] = None
    """Tokens of a caption that are read, where that is less than its tokenizer says."""
    at_once: ClassVar[int] = 64
    """Captions that are read in one batch: of a large text encoder few, since it keeps every layer's states."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Settings of the pipeline itself, beside those of its networks, as they are where its index does not say."""

    def of(self, present: Collection[str]) -> "Family":
        """The family of a model that has only these networks: some are published without one of theirs."""
        return self

    # -- text ---------------------------------------------------------------------------------------------------------

    def prompt(self, tokenizer: Any, caption: str) -> str:
        """What the first tokenizer is given for a caption."""
        return caption

    def tokens(self, models: "Models", captions: Sequence[str | None]) -> Conditions:
        """What `read` takes, on the CPU: `ids` of each tokenizer, and what else it needs. None stands for no caption at all."""
        raise NotImplementedError

    def read(self, models: "Models", tokens: Conditions) -> Conditions:
        """What the denoiser reads, in the encoders' dtype, with gradients: the one way from text to the denoiser, for training
        and drawing alike.
        """
        raise NotImplementedError

    learns_words: ClassVar[bool] = False
    """Whether its text encoders are CLIP's alone, and its pipeline knows words that a textual inversion teaches them."""
    reads_weights: ClassVar[bool] = False
    """Whether `weighted` reads weights of words in a prompt."""

    def weighted(self, models: "Models", prompts: Sequence[str | None]) -> Conditions:
        """As `read` makes them, of prompts whose words may have weights: `(word)1.3`, `word++`; without any as elsewhere."""
        self.require_weights()
        raise NotImplementedError

    def require_weights(self) -> None:
        """ConfigError, by name, for a family whose prompts have no weights."""
        if not self.reads_weights:
            raise ConfigError(
                f"cfg.prompt_weights=true is read for models with one CLIP text encoder, and this one is of {self.title}; type "
                "cfg.prompt_weights=false"
            )

    def rows(self, models: "Models") -> dict[str, tuple[int, ...]]:
        """The shape of one row of each condition."""
        raise NotImplementedError

    @final
    def conditions(
        self, models: "Models", captions: Sequence[str | None], batch_size: int | None = None, weights: bool = False
    ) -> Conditions:
        """What captions become: rows on the encoders' device, without gradients. None: the unconditional row.

        weights: whether words may have them.
        """
        import torch

        batch_size = batch_size or self.at_once

        def rows(some: Sequence[str | None]) -> Conditions:
            return self.weighted(models, some) if weights else self.read(models, self.tokens(models, some))

        with torch.no_grad():
            parts = [rows(captions[start : start + batch_size]) for start in range(0, len(captions), batch_size)]
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    @final
    def unconditional(self, models: "Models", negative: str | None = None) -> Conditions:
        """One row: what guidance leads away from, and what a dropped caption becomes."""
        return self.conditions(models, [negative])

    def require_guidance(self, models: "Models", scale: float) -> None:
        """ConfigError for a model that was distilled to be drawn without guidance: its pipeline does not read the scale."""
        if scale > 1 and models.options.get("is_distilled"):
            raise ConfigError(
                f"cfg.scale={scale:g} would not be read: {models.name} was distilled to be drawn without guidance; type "
                "cfg.scale=1"
            )

    # -- pictures -----------------------------------------------------------------------------------------------------

    def encode(self, models: "Models", images: "Tensor") -> "Tensor":
        """Pictures (n, 3, h, w) on [-1, 1] to mean and log-variance of their latents, (n, 2 * channels, h', w')."""
        moments: Tensor = models.vae.encode(images).latent_dist.parameters
        return moments

    def latents(self, models: "Models", moments: "Tensor", noise: "Tensor") -> "Tensor":
        """Latents as the denoiser knows them, (n, channels, h', w'), from moments and standard normal noise (Kingma and
        Welling 2013).
        """
        config = models.vae.config
        return (drawn(moments, noise) - (config.get("shift_factor") or 0.0)) * config["scaling_factor"]

    def decode(self, models: "Models", latents: "Tensor") -> "Tensor":
        """Latents to pictures (n, 3, h, w) on about [-1, 1]."""
        config, kind = models.vae.config, next(models.vae.parameters()).dtype
        plain = latents.to(kind) / config["scaling_factor"] + (config.get("shift_factor") or 0.0)
        images: Tensor = models.vae.decode(plain, return_dict=False)[0]
        return images

    def factor(self, models: "Models") -> int:
        """Pixels per latent in each direction."""
        return int(2 ** (len(models.vae.config["block_out_channels"]) - 1))

    def sides(self, settings: Mapping[str, Any]) -> tuple[int, int | None]:
        """Of pictures, by the settings of every part: pixels that they are a multiple of, and at most, where there is an end."""
        return 8, None

    def latent_shape(self, models: "Models", count: int) -> tuple[int, ...]:
        """Of `count` pictures of the model's resolution: (count, channels, height, width)."""
        side = models.resolution // self.factor(models)
        return count, models.denoiser.config["in_channels"], side, side

    begins: ClassVar[Mapping[str, str]] = {}
    """Classes of diffusers that draw from a picture: `image` all of it, `mask` a part; empty: this family cannot."""

    def require_beginning(self, masked: bool) -> None:
        """ConfigError, by name, for a family that cannot draw from a picture."""
        if ("mask" if masked else "image") not in self.begins:
            raise ConfigError(
                f"{'mask' if masked else 'image'}= begins from a picture, and models of {self.title} draw from noise alone here; "
                "leave it out"
            )

    # -- the denoiser -------------------------------------------------------------------------------------------------

    def predict(
        self, models: "Models", x: "Tensor", time: "Tensor", conditions: Conditions, pictures: Sequence[Picture]
    ) -> "Tensor":
        """The denoiser's output, of the shape of the noisy latents x (n, channels, h, w); time: (n,) or a scalar; pictures: n, or
        one for all. x is the first thing that the network is handed: evaluations are counted there.
        """
        raise NotImplementedError

    def schedule(self, models: "Models", size: int) -> dict[str, Any]:
        """The configuration of a scheduler that draws pictures of `size`."""
        return models.scheduler_config

    def grid(self, models: "Models", steps: int) -> dict[str, Any]:
        """What a scheduler's `set_timesteps` is told beside the number of steps, for pictures of the models' `latent_shape`: as
        the pipeline does.
        """
        return {}

    def scheduler(self, models: "Models") -> "SchedulerMixin":
        """What a pipeline draws with unless it is told otherwise."""
        raise NotImplementedError

    def pipeline(self, models: "Models") -> "DiffusionPipeline":
        """The same networks as a plain diffusers pipeline: what is exported, and what `task=verify` compares with."""
        raise NotImplementedError

    def encoded(self, pipeline: Any, captions: Sequence[str]) -> tuple[Conditions, Conditions]:
        """What that pipeline itself makes of captions, and of no negative prompt: rows for each caption, named as `read` names
        them. `task=verify` holds `conditions` and `unconditional` against them.
        """
        raise NotImplementedError

    def spread(self, models: "Models", latents: "Tensor") -> "Tensor":
        """Latents as the pipeline hands them to its callbacks, shaped as `latent_shape`."""
        return latents

    def told(self, picture: Picture) -> dict[str, Any]:
        """How the pipeline's call is told the sizes of a picture; nothing where it reads none."""
        return {}

    def blocks(self, denoiser: "nn.Module") -> "dict[str, nn.Module]":
        """Its repeated blocks, none inside another one: gradient checkpointing computes them again one by one, and processes that
        share a model in shards gather them one by one.
        """
        raise NotImplementedError

    def text_width(self, settings: Mapping[str, Any]) -> int:
        """Width of the text states that the denoiser of these settings (by part) reads."""
        raise NotImplementedError

    def cross_attention_widths(self, models: "Models") -> list[int]:
        """Width of every cross-attention layer of the denoiser, from its configuration; empty where there are none."""
        return []

    def spellings(self, network: str, layer: str, config: Any) -> set[str]:
        """How tools write a layer's path; its own among them. config: the network's."""
        return {layer}

    def kohya_path(self, network: str, layer: str, config: Any) -> str:
        """A layer's path, with dots, as sd-scripts has it behind its prefix. config: the network's."""
        return layer.removeprefix("text_model.")

    def prefixes(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """By network: what single files write before its tensors' names; empty where none of the family are read."""
        return {}

    def padding(self, tokenizer: str, settings: Mapping[str, Any]) -> Optional[str]:
        """The token that a tokenizer fills up with, where a single file does not say and it is not the end token."""
        return None

    def fits(self, settings: Mapping[str, Any], header: "Header") -> bool:
        """Whether a single-file checkpoint has the shapes of these settings (by part)."""
        return False

    def reaches(self, models: "Models", network: str, parameter: str) -> bool:
        """Whether a parameter has a say in what the denoiser predicts; layers behind the one that `read` takes have none."""
        return True

    @property
    def clips(self) -> tuple[str, ...]:
        """The encoders that are a CLIP's text tower: plain diffusers reads adapters of these alone."""
        return tuple(name for name in self.encoders if self.networks[name].startswith("CLIP"))

    @property
    def unlike_clip(self) -> str:
        """What it reads text with, where no CLIP's text tower can stand in for that; empty where one can."""
        if len(self.encoders) > 1:
            return f"{len(self.encoders)} text encoders side by side"
        return "" if self.clips else f"a language model ({self.networks[self.encoders[0]]})"

    @property
    def spoken(self) -> str:
        """The denoiser as a sentence names it."""
        return "U-Net" if self.denoiser == "unet" else self.denoiser

    @property
    def trained(self) -> tuple[str, ...]:
        """The networks that strategies and adapters may change."""
        return (self.denoiser, *self.encoders)
