"""Low-rank adapters (LoRA, Hu et al. 2021; DoRA, Liu et al. 2024) from any tool's file, put beside a model's layers by peft.

Whatever the spelling, a file becomes one value: for each network and layer, W + scaling * up down. The layers are looked up
in the network itself, so a name that fits nothing is told and not dropped.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor, nn

from t2i.errors import UserError
from t2i.models.adapters.kinds import PEFT, Found, Kind
from t2i.models.adapters.names import Key, parse
from t2i.models.families.family import Family
from t2i.models.parts import Models

METADATA = "lora_adapter_metadata"
"""In a file of diffusers: the configurations of peft, as JSON with the network before each key."""


@dataclass
class LowRank:
    """The change of one layer: scaling * up down, and under DoRA the length of each output's weights."""

    down: Tensor
    """(rank, in) of a linear layer, (rank, in, height, width) of a convolution."""
    up: Tensor
    """(out, rank), or (out, rank, 1, 1)."""
    alpha: float
    rooted: bool = False
    """rsLoRA (Kalajdzievski 2023): the scaling is alpha / sqrt(rank), not alpha / rank."""
    magnitude: Optional[Tensor] = None
    """(out,): DoRA's."""

    @property
    def rank(self) -> int:
        """Of the change."""
        return int(self.down.shape[0])

    @property
    def divisor(self) -> float:
        """What alpha is divided by."""
        return math.sqrt(self.rank) if self.rooted else self.rank


@dataclass
class Adapter:
    """A whole file: changes by network (unet, text_encoder) and layer (its path in the network)."""

    family: Family
    """What it is made for: how files for others name its layers."""
    layers: dict[str, dict[str, LowRank]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    """The configuration of each network."""

    @classmethod
    def of(cls, models: Models) -> "Adapter":
        """Of this model, and nothing changed yet."""
        return cls(models.family, settings={name: models.modules[name].config for name in models.family.trained})


def layers_of(network: nn.Module) -> dict[str, Tensor]:
    """The weight of every linear layer and convolution by its path; what earlier adapters wrapped counts as it was."""
    found: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        plain = getattr(module, "base_layer", module)
        if isinstance(plain, nn.Linear | nn.Conv2d) and not re.search(r"\.(base_layer|lora_)", f".{name}"):
            found[name] = plain.weight
    return found


def read(found: Found, models: Models) -> Adapter:
    """The adapter, fitted to the model's layers.

    Raises UserError that names the tensors which fit none, and says what the file seems to be.
    """
    tensors, configs = _tensors(found)
    index = {module: _spellings(models, module) for module in models.family.trained}
    weights = {module: layers_of(models.modules[module]) for module in models.family.trained}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    strange: list[str] = []
    for name, tensor in tensors.items():
        place = _place(parse(name), index)
        if place is None:
            strange.append(name)
        else:
            parts.setdefault(place[:2], {})[place[2]] = tensor
    if strange:
        raise _misfit(
            found, models, f"{len(strange)} of its {len(tensors)} tensors belong to no layer", sorted(strange)[0]
        )
    adapter = Adapter.of(models)
    for (module, layer), own in parts.items():
        try:
            change = _fitted(own, weights[module][layer], _config_of(configs, module), layer)
        except ValueError as error:
            raise _misfit(found, models, str(error), f"{module}.{layer}") from error
        adapter.layers.setdefault(module, {})[layer] = change
    return adapter


def _misfit(found: Found, models: Models, reason: str, example: str) -> UserError:
    return UserError(
        f"{found.path} does not fit model={models.name}: {reason}, e.g. {example}; it seems to be {found.spoken}: use the model "
        "that it was made for"
    )


def _tensors(found: Found) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Every tensor in float32 by name, and peft's configurations by network (an empty name: of all)."""
    from safetensors import safe_open

    tensors: dict[str, Tensor] = {}
    configs: dict[str, dict[str, Any]] = {}
    for path in found.files:
        network = next((name for name, root in found.roots.items() if root == path.parent), "")
        if path.name == PEFT:
            configs[network] = json.loads(path.read_text(encoding="utf-8"))
            continue
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118 - not a dict
                tensor = file.get_tensor(name).to(torch.float32)
                if not bool(tensor.isfinite().all()):
                    raise UserError(f"{path} holds a value that is not finite in {name}; it would spoil every picture")
                tensors[f"{network}.{name}" if network else name] = tensor
        for key, value in json.loads(metadata.get(METADATA, "{}")).items():
            network, _, inner = key.partition(".")
            configs.setdefault(network, {})[inner] = value
    return tensors, configs


def _config_of(configs: Mapping[str, dict[str, Any]], module: str) -> dict[str, Any]:
    return configs.get(module) or configs.get("") or {}


def _spellings(models: Models, module: str) -> dict[str, str]:
    """Every way in which tools write a layer's path, to the path."""
    found: dict[str, str] = {}
    network: Any = models.modules[module]
    for layer in layers_of(network):
        for spelling in models.family.spellings(module, layer, network.config):
            found[spelling] = found[spelling.replace(".", "_")] = layer
    return found


def _place(key: Key | None, index: Mapping[str, Mapping[str, str]]) -> tuple[str, str, str] | None:
    """Network, layer and part of a tensor; None when there is no such layer."""
    if key is None:
        return None
    for module in index if key.network is None else (key.network,):
        if (layer := index.get(module, {}).get(key.layer)) is not None:
            return module, layer, key.part
    return None


def _fitted(own: Mapping[str, Tensor], weight: Tensor, config: Mapping[str, Any], layer: str) -> LowRank:
    """One layer's change with the shapes that peft expects; ValueError, in words, where they cannot be."""
    if "down" not in own or "up" not in own:
        raise ValueError(f"a layer has {' and '.join(sorted(own))} alone")
    down, up = own["down"], own["up"]
    if "mid" in own:  # LyCORIS splits a convolution in three: 1 x 1, k x k between ranks, 1 x 1
        down = torch.einsum("rskl,si->rikl", own["mid"], down.flatten(1))
    rank = down.shape[0]
    shape = (rank, *weight.shape[1:])
    if (
        down.numel() != math.prod(shape)
        or up.numel() != weight.shape[0] * rank
        or up.shape[:2] != (weight.shape[0], rank)
    ):
        raise ValueError(f"{tuple(up.shape)} x {tuple(down.shape)} is no change of a weight of {tuple(weight.shape)}")
    down, up = down.reshape(shape), up.reshape(weight.shape[0], rank, *[1] * (weight.ndim - 2))
    magnitude = own.get("magnitude")
    if magnitude is not None:
        if magnitude.numel() != weight.shape[0] or magnitude.squeeze().ndim > 1 or _of_inputs(magnitude, weight):
            raise ValueError(f"a DoRA magnitude of {tuple(magnitude.shape)} is not one number an output")
        magnitude = magnitude.flatten()
    alpha = float(own["alpha"]) if "alpha" in own else _alpha(config, layer, rank)
    return LowRank(down, up, alpha, bool(config.get("use_rslora")) and "alpha" not in own, magnitude)


def _of_inputs(magnitude: Tensor, weight: Tensor) -> bool:
    """Whether it is a row, one number an input, as early LyCORIS had them; a square layer does not tell by size."""
    return weight.ndim == 2 and magnitude.ndim == 2 and magnitude.shape[0] == 1


def _alpha(config: Mapping[str, Any], layer: str, rank: int) -> float:
    """peft's alpha of a layer: by a pattern for it, or the one of all; without a configuration, the rank."""
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", layer):
            return float(value)
    return float(config.get("lora_alpha", rank))


def read_file(path: Path, models: Models) -> Adapter:
    """`read` for one file of diffusers' layout, as a training leaves it."""
    return read(Found(Kind.low_rank, path, (path,)), models)
