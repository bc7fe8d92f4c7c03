"""A latent diffusion model in memory: loading (strictly), building at random, freezing, digests."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from t2i.errors import UserError
from t2i.models import source
from t2i.models.config import Init, Model
from t2i.models.files import variant_of
from t2i.store import Store

# Nothing that these libraries say while loading can be acted upon: problems are reported below, by name.
for library in (transformers.utils.logging, diffusers.utils.logging):
    library.set_verbosity_error()
    library.disable_progress_bar()


@dataclass
class Models:
    """The parts of one pipeline. `digest` identifies the base weights, `tuned` what was loaded on top of them."""

    name: str
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler_config: dict[str, Any]
    resolution: int
    digest: str
    tuned: str = ""
    offloaded_from: torch.device | None = None
    """The device that computes, when the networks stay on the CPU until they are needed."""
    words: dict[str, str] = field(default_factory=dict)
    """Words of textual inversions, each with its tokens as a prompt has to name them."""

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The three networks by the names that diffusers gives their folders."""
        return {"text_encoder": self.text_encoder, "vae": self.vae, "unet": self.unet}

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return self.offloaded_from or next(self.unet.parameters()).device

    @contextlib.contextmanager
    def on_device(self, module: str) -> Iterator[None]:
        """Inside, a network is where it computes; only an offloaded one has to travel."""
        if self.offloaded_from is None:
            yield
            return
        self.modules[module].to(self.offloaded_from)
        try:
            yield
        finally:
            self.modules[module].to("cpu")

    def latent_shape(self, count: int) -> tuple[int, int, int, int]:
        """Of so many pictures: (count, channels, height, width)."""
        side = self.resolution // 2 ** (len(self.vae.config["block_out_channels"]) - 1)
        return count, self.unet.config["in_channels"], side, side

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Models":
        """Move everything; frozen parameters take `dtype`, parameters that require a gradient stay float32."""
        for module in self.modules.values():
            module.to(device)
            for parameter in module.parameters():
                parameter.data = parameter.data.to(torch.float32 if parameter.requires_grad else dtype)
        return self

    def freeze(self) -> "Models":
        """No parameter requires a gradient, and dropout is off."""
        for module in self.modules.values():
            module.requires_grad_(False).eval()
        return self

    def scheduler(self) -> DDIMScheduler | PNDMScheduler:
        """What a pipeline draws with unless it is told otherwise; PNDM ignores a terminal SNR of zero."""
        zero_terminal = self.scheduler_config.get("rescale_betas_zero_snr", False)
        return (DDIMScheduler if zero_terminal else PNDMScheduler).from_config(self.scheduler_config)

    def pipeline(self) -> StableDiffusionPipeline:
        """The same modules as a plain diffusers pipeline (no safety checker: nothing here is shown unasked)."""
        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=self.scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def count(parameters: Iterable[nn.Parameter]) -> int:
    """Number of scalars."""
    return sum(parameter.numel() for parameter in parameters)


def load(config: Model, store: Store, seed: int = 0) -> Models:
    """The model in float32 on the CPU, frozen.

    Raises UserError when the source cannot be found or a weight file does not fill the network exactly.
    """
    digest = source.digest(config, store, seed)
    models = _random(config, digest, seed) if config.init is Init.random else _pretrained(config, digest)
    return models.freeze()


def _random(config: Model, digest: str, seed: int) -> Models:
    parts = source.architecture(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = CLIPTextModel(CLIPTextConfig(**parts["text_encoder"]))
        vae = AutoencoderKL(**parts["vae"])
        unet = UNet2DConditionModel(**parts["unet"])
    # No vocabulary is bundled for the full-size model; the tiny one's ids are all inside its embedding table.
    tokenizer = CLIPTokenizer.from_pretrained(source.BUNDLED / "tokenizer")
    tokenizer.model_max_length = parts["text_encoder"]["max_position_embeddings"]
    return Models(config.name, tokenizer, text_encoder, vae, unet, parts["scheduler"], config.resolution, digest)


def _pretrained(config: Model, digest: str) -> Models:
    folder = source.locate(config)
    if folder.is_file():
        from t2i.models import single_file

        parts, tokenizer, scheduler_config = single_file.read(config, folder)
        return Models(
            config.name,
            tokenizer,
            **parts,
            scheduler_config=scheduler_config,
            resolution=config.resolution,
            digest=digest,
        )
    text_encoder = strictly(CLIPTextModel, folder / "text_encoder")
    vae = strictly(AutoencoderKL, folder / "vae")
    unet = strictly(UNet2DConditionModel, folder / "unet")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    scheduler_config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return Models(config.name, tokenizer, text_encoder, vae, unet, scheduler_config, config.resolution, digest)


def strictly(kind: Any, folder: Path) -> Any:
    """`kind.from_pretrained(folder)` in float32, refusing missing, unexpected or mismatched weights.

    Old and new key layouts of CLIP differ by one level; a loader that is not strict would leave such weights at
    their random start without an error.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; expected a part of a diffusers pipeline there")
    try:
        module, info = kind.from_pretrained(
            folder,
            variant=variant_of(folder),
            output_loading_info=True,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # then they are listed, and refused below by name
        )
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder} cannot be loaded as {kind.__name__}: {reason}") from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = sorted(name for name in map(_described, info[problem]) if not name.endswith("position_ids"))
        if names:
            raise UserError(
                f"{folder} does not fill {kind.__name__}: {len(names)} {problem.replace('_', ' ')}, e.g. {names[0]}"
            )
    return module


def _described(key: Any) -> str:
    """The name of a tensor; a mismatched one comes with the shape in the file and the shape of the network."""
    return key if isinstance(key, str) else f"{key[0]} of shape {tuple(key[1])} in place of {tuple(key[2])}"


def text_layout(state: dict[str, torch.Tensor], target: Iterable[str]) -> dict[str, torch.Tensor]:
    """Rename text-encoder keys between the old (`text_model.` level) and the flat transformers layout to fit `target`."""
    nested = any(name.startswith("text_model.") for name in target)
    plain = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    return {f"text_model.{name}": tensor for name, tensor in plain.items()} if nested else plain


def module_digest(module: nn.Module) -> str:
    """sha256 over names, shapes, dtypes and bytes of a module's parameters: proves which weights are in use."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.ndim else b"")
    return digest.hexdigest()[:32]
