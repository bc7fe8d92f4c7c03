"""Which parameters train. A strategy is one dataclass with `attach / trainable / expected / save / load`.

A new one is a dataclass here, a `store` line in t2i/config.py, a YAML in conf/strategy, and a test parameter.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.errors import ConfigError, UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from t2i.models.load import Models

WEIGHTS = "weights.safetensors"
LORA_WEIGHTS = "pytorch_lora_weights.safetensors"
DESCRIPTION = "strategy.json"


@dataclass
class Strategy:
    """Base of all strategies: trains the parameters of `modules()` that `chooses` picks."""

    kind: str = "???"
    """Name of the strategy's class in t2i/config.py."""
    learning_rate: float = 1e-5
    """Peak learning rate of the optimizer."""

    def validate(self) -> None:
        """Raise ConfigError for values that no run could use."""
        if not 0 < self.learning_rate < 10:
            raise ConfigError(f"strategy.learning_rate={self.learning_rate} is not between 0 and 10; use e.g. 1e-5")

    def modules(self) -> tuple[str, ...]:
        """Names of the networks that hold trainable parameters: among unet, text_encoder."""
        return ("unet",)

    def chooses(self, name: str) -> bool:
        """Whether the parameter of this name (as in the module's `named_parameters`) trains."""
        raise NotImplementedError

    def attach(self, models: "Models") -> None:
        """Freeze everything, then let the chosen parameters require gradients, in float32."""
        models.freeze()
        for module in self.modules():
            for name, parameter in models.modules[module].named_parameters():
                if self.chooses(name):
                    parameter.requires_grad_(True)
                    parameter.data = parameter.data.float()

    def trainable(self, models: "Models") -> "dict[str, nn.Parameter]":
        """The chosen parameters by `module.name`, in a fixed order."""
        return {
            f"{module}.{name}": parameter
            for module in self.modules()
            for name, parameter in models.modules[module].named_parameters()
            if parameter.requires_grad
        }

    def expected(self, models: "Models") -> int:
        """How many scalars must train, counted from the architecture's configuration, not from what was attached."""
        raise NotImplementedError

    def save(self, models: "Models", folder: Path) -> None:
        """Write only the changed weights (float32 safetensors) and what is needed to load them."""
        from safetensors.torch import save_file

        tensors = {name: value.detach().cpu().contiguous() for name, value in self.trainable(models).items()}
        save_file(tensors, folder / WEIGHTS)
        self._describe(models, folder)

    def load(self, models: "Models", folder: Path) -> None:
        """Put weights written by `save` into `models`; UserError when a name or a shape does not fit."""
        own: dict[str, dict[str, Tensor]] = {module: {} for module in self.modules()}
        for name, tensor in read_tensors(folder / WEIGHTS).items():
            module, _, inner = name.partition(".")
            own.setdefault(module, {})[inner] = tensor
        if "text_encoder" in self.modules():
            from t2i.models.load import text_layout

            own["text_encoder"] = text_layout(own["text_encoder"], models.text_encoder.state_dict())
        wanted = {
            f"{module}.{name}": tuple(parameter.shape)
            for module in self.modules()
            for name, parameter in models.modules[module].named_parameters()
            if self.chooses(name)
        }
        found = {f"{module}.{name}": tuple(t.shape) for module, part in own.items() for name, t in part.items()}
        _require_fit(folder / WEIGHTS, models, wanted, found)
        for module, part in own.items():
            models.modules[module].load_state_dict(part, strict=False)  # names and shapes were checked above

    def _describe(self, models: "Models", folder: Path) -> None:
        from dataclasses import asdict

        from t2i.store import write_json

        write_json(folder / DESCRIPTION, {"strategy": asdict(self), "model": models.name, "base_digest": models.digest})


def _require_fit(
    path: Path, models: "Models", wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]
) -> None:
    """UserError unless a file holds exactly the wanted names, each with its shape."""
    wrong = sorted({name for name, _ in wanted.items() ^ found.items()})
    if wrong:
        raise UserError(
            f"{path} does not fit model={models.name}: {len(wrong)} tensors are missing, too many or of another shape, "
            f"e.g. {wrong[0]}; use the model that it was trained from"
        )


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """A safetensors file; UserError when it is missing, broken, or holds a value that is not finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read as safetensors ({error}); give a run folder or a file made by task=train"
        ) from error
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{path} holds a value that is not finite in {name}; it would spoil every picture")
    return tensors


def cross_attention_widths(unet_config: Any) -> list[int]:
    """Width of every cross-attention layer of a U-Net, derived from its configuration (SD 1.x: 320 x5, 640 x5, 1280 x6)."""
    widths = list(unet_config["block_out_channels"])
    layers = unet_config["layers_per_block"]
    down = [
        w
        for w, kind in zip(widths, unet_config["down_block_types"], strict=True)
        if "CrossAttn" in kind
        for _ in range(layers)
    ]
    up_widths = list(reversed(widths))
    up = [
        w
        for w, kind in zip(up_widths, unet_config["up_block_types"], strict=True)
        if "CrossAttn" in kind
        for _ in range(layers + 1)
    ]
    return [*down, widths[-1], *up]


@dataclass
class Attn2ToV(Strategy):
    """Only the value projections of the cross-attention layers (`attn2.to_v`): what a word puts into the picture."""

    kind: str = "attn2_to_v"
    learning_rate: float = 1e-4

    def chooses(self, name: str) -> bool:
        return name.endswith("attn2.to_v.weight")

    def expected(self, models: "Models") -> int:
        return sum(
            width * models.unet.config["cross_attention_dim"] for width in cross_attention_widths(models.unet.config)
        )


@dataclass
class UNet(Strategy):
    """Every parameter of the U-Net."""

    kind: str = "unet"
    learning_rate: float = 1e-5

    def chooses(self, name: str) -> bool:
        return True

    def expected(self, models: "Models") -> int:
        return sum(p.numel() for p in _weightless(type(models.unet), models.unet.config).parameters())


@dataclass
class TextEncoder(Strategy):
    """Every parameter of the CLIP text encoder, through the frozen U-Net."""

    kind: str = "text_encoder"
    learning_rate: float = 1e-5

    def modules(self) -> tuple[str, ...]:
        return ("text_encoder",)

    def chooses(self, name: str) -> bool:
        return True

    def expected(self, models: "Models") -> int:
        c = models.text_encoder.config
        d, m = c.hidden_size, c.intermediate_size
        # four attention projections, two-layer perceptron, two layer norms; weights and biases (Radford et al. 2021)
        layer = 4 * (d * d + d) + (d * m + m) + (m * d + d) + 2 * 2 * d
        return (c.vocab_size + c.max_position_embeddings) * d + c.num_hidden_layers * layer + 2 * d


def _weightless(kind: Any, config: Any) -> Any:
    """A network built from its configuration alone, on the meta device: shapes without memory."""
    import torch

    with torch.device("meta"):
        return kind.from_config(config)


@dataclass
class Lora(Strategy):
    """Low-rank adapters (Hu et al. 2021) on the U-Net's attention projections, through peft."""

    kind: str = "lora"
    learning_rate: float = 1e-4
    rank: int = 4
    """Rank of the update matrices."""
    alpha: Optional[float] = None
    """Scale of the update is alpha / rank; null: alpha = rank."""
    dropout: float = 0.0
    """Dropout on the adapters' input while training."""
    targets: list[str] = field(default_factory=lambda: ["to_q", "to_k", "to_v", "to_out.0"])
    """Suffixes of the linear layers that get an adapter, e.g. [attn2.to_v]."""

    def validate(self) -> None:
        super().validate()
        if self.rank < 1:
            raise ConfigError(f"strategy.rank={self.rank} is not a positive number; use e.g. strategy.rank=4")
        if self.alpha is not None and not 0 < self.alpha < math.inf:
            raise ConfigError(
                f"strategy.alpha={self.alpha} is not a positive number; use e.g. strategy.alpha={self.rank}"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"strategy.dropout={self.dropout} is not in [0, 1); use e.g. strategy.dropout=0.1")

    def chooses(self, name: str) -> bool:
        return "lora_" in name

    def attach(self, models: "Models") -> None:
        import torch
        from peft import LoraConfig

        models.freeze()
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha if self.alpha is not None else self.rank,
            lora_dropout=self.dropout,
            target_modules=list(self.targets),
            init_lora_weights="gaussian",
        )
        try:
            with torch.random.fork_rng(devices=[]):  # adapters begin alike in every run and every process
                torch.manual_seed(0)
                models.unet.add_adapter(config)
        except ValueError as error:
            raise ConfigError(
                f"strategy.targets={self.targets} matches no layer of the U-Net; use e.g. [to_q,to_v]"
            ) from error
        for parameter in models.unet.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    def expected(self, models: "Models") -> int:
        return sum(math.prod(shape) for shape in self._shapes(models).values())

    def _shapes(self, models: "Models") -> dict[str, tuple[int, ...]]:
        """Name in the saved file to shape: for layers with weights (out, in, ...), (rank, in, ...) and (out, rank, ...)."""
        suffixes = tuple(f".{target}" for target in self.targets)
        shapes: dict[str, tuple[int, ...]] = {}
        for name, layer in _weightless(type(models.unet), models.unet.config).named_modules():
            if f".{name}".endswith(suffixes):
                out, *inputs = layer.weight.shape
                shapes[f"unet.{name}.lora.down.weight"] = (self.rank, *inputs)
                shapes[f"unet.{name}.lora.up.weight"] = (out, self.rank, *(1 for _ in inputs[1:]))
        return shapes

    def save(self, models: "Models", folder: Path) -> None:
        from diffusers import StableDiffusionPipeline
        from diffusers.utils import convert_state_dict_to_diffusers
        from peft.utils import get_peft_model_state_dict

        layers = {
            name: t.detach().cpu()
            for name, t in convert_state_dict_to_diffusers(get_peft_model_state_dict(models.unet)).items()
        }
        # peft's alpha travels in the file's metadata, so that plain diffusers scales the update as we do. The dropout
        # stays behind: diffusers would apply it while sampling.
        metadata = {**models.unet.peft_config["default"].to_dict(), "lora_dropout": 0.0}
        StableDiffusionPipeline.save_lora_weights(
            folder, unet_lora_layers=layers, unet_lora_adapter_metadata=metadata, weight_name=LORA_WEIGHTS
        )
        self._describe(models, folder)

    def load(self, models: "Models", folder: Path) -> None:
        path = folder / LORA_WEIGHTS
        found = {name: tuple(tensor.shape) for name, tensor in read_tensors(path).items()}
        _require_fit(path, models, self._shapes(models), found)  # diffusers would leave out what it does not find
        models.unet.load_lora_adapter(folder, weight_name=LORA_WEIGHTS, prefix="unet", adapter_name="default")
        models.freeze()


def describe(folder: Path) -> dict[str, Any]:
    """What `save` wrote beside the weights; UserError when `folder` holds no tuned weights."""
    path = folder / DESCRIPTION
    if not path.exists():
        raise UserError(f"{folder} holds no tuned weights ({DESCRIPTION} is missing); give a run folder of task=train")
    description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return description
