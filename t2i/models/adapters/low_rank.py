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
from t2i.models import original
from t2i.models.adapters.kinds import PEFT, Found
from t2i.models.adapters.names import TEXT, UNET, Key, kohya, parse
from t2i.models.load import Models

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

    layers: dict[str, dict[str, LowRank]] = field(default_factory=dict)


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
    index = {module: _spellings(module, models.modules[module]) for module in (UNET, TEXT)}
    weights = {module: layers_of(models.modules[module]) for module in (UNET, TEXT)}
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
    adapter = Adapter()
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


def _spellings(module: str, network: nn.Module) -> dict[str, str]:
    """Every way in which tools write a layer's path, to the path."""
    found: dict[str, str] = {}
    for layer in layers_of(network):
        plain = layer.removeprefix("text_model.")
        own = {layer, plain, f"text_model.{plain}"} if module == TEXT else {layer}
        if module == UNET:
            own.add(original.unet_name(layer, network.config))  # type: ignore[arg-type]
        for spelling in own:
            found[spelling] = found[spelling.replace(".", "_")] = layer
    return found


def _place(key: Key | None, index: Mapping[str, Mapping[str, str]]) -> tuple[str, str, str] | None:
    """Network, layer and part of a tensor; None when there is no such layer."""
    if key is None:
        return None
    for module in (UNET, TEXT) if key.network is None else (key.network,):
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


def place(models: Models, adapter: Adapter, name: str, scale: float = 1.0) -> None:
    """Put the adapter beside the layers it changes, under a name of its own; earlier ones stay in use.

    The arithmetic is that of peft's layers, hence of plain diffusers: the pictures are the same bits.
    """
    for module, changes in adapter.layers.items():
        network = models.modules[module]
        for dora in (False, True):
            group = {layer: change for layer, change in changes.items() if (change.magnitude is not None) == dora}
            if group:
                _insert(network, group, f"{name}_dora" if dora else name, scale)
        _activate(network)
    models.freeze()


def _insert(network: Any, group: Mapping[str, LowRank], name: str, scale: float) -> None:
    from peft import LoraConfig

    first = next(iter(group.values()))
    config = LoraConfig(
        r=first.rank,
        lora_alpha=first.alpha,
        target_modules=list(group),
        rank_pattern={re.escape(layer): change.rank for layer, change in group.items() if change.rank != first.rank},
        alpha_pattern={
            re.escape(layer): change.alpha for layer, change in group.items() if change.alpha != first.alpha
        },
        use_dora=first.magnitude is not None,
        use_rslora=first.rooted,
        init_lora_weights=True,
    )
    with torch.random.fork_rng(devices=[]):  # nothing that is drawn here is kept
        network.add_adapter(config, adapter_name=name)
    wrapped = {layer for layer, module in network.named_modules() if name in getattr(module, "lora_A", {})}
    if wrapped != set(group):
        odd = sorted(wrapped ^ set(group))
        raise UserError(f"peft put the adapter on {len(odd)} layers that were not meant, or left them, e.g. {odd[0]}")
    with torch.no_grad():
        for layer, change in group.items():
            module = network.get_submodule(layer)
            module.lora_A[name].weight.copy_(change.down)
            module.lora_B[name].weight.copy_(change.up)
            if change.magnitude is not None:
                own = module.lora_magnitude_vector[name].weight
                own.copy_(change.magnitude.reshape(own.shape))
            module.scaling[name] = scale * change.alpha / change.divisor


def _activate(network: nn.Module) -> None:
    """Every adapter of a layer counts."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in network.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(list(getattr(module, "lora_A", {})))


def fuse(models: Models) -> None:
    """Add every adapter to the weights it changes, and leave plain layers."""
    from diffusers.utils.peft_utils import recurse_remove_peft_layers
    from peft.tuners.tuners_utils import BaseTunerLayer

    for network in (models.unet, models.text_encoder):
        adapted: Any = network
        layers = [module for module in adapted.modules() if isinstance(module, BaseTunerLayer)]
        if not layers:
            continue
        for layer in layers:
            layer.merge(adapter_names=list(layer.active_adapters))
        recurse_remove_peft_layers(adapted)
        adapted.peft_config.clear()
        adapted._hf_peft_config_loaded = False
    models.freeze()


def kohya_tensors(adapter: Adapter) -> dict[str, Tensor]:
    """The same in the layout that AUTOMATIC1111, ComfyUI and sd-scripts read: alpha as a tensor beside each layer.

    diffusers recognises a text encoder's attention in this layout only by an output projection among the layers (and reads
    the rest wrongly where an MLP's layer is there instead): where there is none, one that changes nothing is added.
    Raises UserError for DoRA, whose magnitudes have no place that all readers know.
    """
    tensors: dict[str, Tensor] = {}
    for module, changes in adapter.layers.items():
        own = dict(changes)
        if module == TEXT:
            own |= _recognisable(own)
        for layer, change in own.items():
            if change.magnitude is not None:
                raise UserError(
                    "a DoRA has no place for its magnitudes in the kohya layout that all readers know; use "
                    "format=peft, or format=single_file with the adapter fused"
                )
            key = kohya(module, layer)
            tensors[f"{key}.lora_down.weight"] = change.down.contiguous()
            tensors[f"{key}.lora_up.weight"] = change.up.contiguous()
            # Readers of this layout scale by alpha / rank.
            tensors[f"{key}.alpha"] = torch.tensor(float(change.alpha * change.rank / change.divisor))
    return tensors


def _recognisable(changes: Mapping[str, LowRank]) -> dict[str, LowRank]:
    attention = {name: change for name, change in changes.items() if ".self_attn." in name}
    if not attention or any(name.endswith("out_proj") for name in attention):
        return {}
    name, change = next(iter(attention.items()))
    width = change.up.shape[0]
    blank = LowRank(torch.zeros(change.rank, width), torch.zeros(width, change.rank), change.alpha, change.rooted)
    return {f"{name.rpartition('.')[0]}.out_proj": blank}


def adapter_of(models: Models) -> Adapter:
    """What is beside a model's layers now: the one adapter of each layer; UserError when several share a layer."""
    found = Adapter()
    for module in (UNET, TEXT):
        for layer, own in models.modules[module].named_modules():
            names = list(getattr(own, "lora_A", {}))
            if not names:
                continue
            if len(names) > 1:
                raise UserError(
                    f"{len(names)} adapters change {module}.{layer}, and a file of one adapter cannot hold them; use "
                    "format=diffusers or format=single_file with fused=true"
                )
            found.layers.setdefault(module, {})[layer] = _taken(own, names[0])
    return found


def _taken(layer: Any, name: str) -> LowRank:
    vector = getattr(layer, "lora_magnitude_vector", {})
    rooted = bool(layer.use_rslora.get(name)) if isinstance(getattr(layer, "use_rslora", None), dict) else False
    rank = int(layer.r[name])
    divisor = math.sqrt(rank) if rooted else rank
    magnitude = vector[name].weight.detach().flatten() if name in vector else None
    down, up = layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach()
    return LowRank(down.cpu(), up.cpu(), float(layer.scaling[name]) * divisor, rooted, magnitude)


def read_file(path: Path, models: Models) -> Adapter:
    """`read` for one file of diffusers' layout, as a training leaves it."""
    from t2i.models.adapters.kinds import Kind

    return read(Found(Kind.low_rank, path, (path,)), models)
