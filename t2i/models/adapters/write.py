"""Low-rank adapters as files for others: kohya's layout, diffusers' layout, and peft's folders."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from t2i.errors import UserError
from t2i.models.adapters.low_rank import METADATA, Adapter, LowRank
from t2i.models.adapters.names import WRAPPER, kohya
from t2i.models.families.family import Family
from t2i.models.layout import LEVEL
from t2i.models.safetensors_file import rename


def write_kohya(adapter: Adapter, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """One file with sd-scripts' names; UserError for DoRA."""
    tensors = {name: tensor.to(dtype) for name, tensor in kohya_tensors(adapter).items()}
    changes = [change for own in adapter.layers.values() for change in own.values()]
    metadata = {
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_base_model_version": adapter.family.kohya_base,
    }
    metadata["ss_network_dim"] = str(max(change.rank for change in changes))
    metadata["ss_network_alpha"] = str(changes[0].alpha * changes[0].rank / changes[0].divisor)
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, metadata)
    sort_header(path)


def kohya_tensors(adapter: Adapter) -> dict[str, Tensor]:
    """The same in the layout that AUTOMATIC1111, ComfyUI and sd-scripts read: alpha as a tensor beside each layer.

    diffusers recognises a text encoder's attention in this layout only by an output projection among the layers (and reads
    the rest wrongly where an MLP's layer is there instead): where there is none, one that changes nothing is added.
    Raises UserError for DoRA, whose magnitudes have no place that all readers know.
    """
    tensors: dict[str, Tensor] = {}
    for module, changes in adapter.layers.items():
        own = dict(changes)
        if module in adapter.family.clips:
            own |= _recognisable(own)
        for layer, change in own.items():
            if change.magnitude is not None:
                raise UserError(
                    "a DoRA has no place for its magnitudes in the kohya layout that all readers know; use "
                    "format=peft, or format=single_file with the adapter fused"
                )
            path = adapter.family.kohya_path(module, layer, adapter.settings.get(module))
            key = kohya(adapter.family.kohya[module], path)
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


def write_diffusers(adapter: Adapter, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """`pytorch_lora_weights.safetensors`, with peft's configuration in its metadata.

    Only recent diffusers reads an alpha there, and older ones take the rank for it: the scaling is multiplied in.
    """
    adapter = scaled_in(adapter)
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, Any] = {}
    for module, changes in adapter.layers.items():
        for layer, change in changes.items():
            for part, tensor in parts_of(change).items():
                tensors[f"{module}.{nested(adapter.family, module, layer)}.{part}"] = tensor.to(dtype).contiguous()
        metadata |= {f"{module}.{key}": value for key, value in configuration(changes).items()}
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, {"format": "pt", METADATA: json.dumps(metadata, indent=2, sort_keys=True)})
    sort_header(path)


def write_peft(adapter: Adapter, folder: Path, dtype: torch.dtype = torch.float32) -> list[Path]:
    """`<network>/adapter_model.safetensors` and `adapter_config.json`, as `PeftModel.from_pretrained` reads them."""
    written = []
    adapter = scaled_in(adapter)
    for module, changes in adapter.layers.items():
        own = folder / module
        own.mkdir(parents=True, exist_ok=True)
        # peft takes what it finds under the very name that a layer has, and transformers 5.6 changed those of text encoders:
        # each reader finds its own spelling.
        tensors = {
            f"{WRAPPER}{spelling}.{part}": tensor.to(dtype).clone().contiguous()
            for layer, change in changes.items()
            for part, tensor in parts_of(change).items()
            for spelling in sorted({nested(adapter.family, module, layer), layer.removeprefix(LEVEL)})
        }
        save_file(tensors, own / "adapter_model.safetensors", {"format": "pt"})
        sort_header(own / "adapter_model.safetensors")
        settings = {"peft_type": "LORA", "task_type": None, "base_model_name_or_path": None, "inference_mode": True}
        text = json.dumps(settings | configuration(changes), indent=2, sort_keys=True)
        (own / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
        written.append(own)
    return written


def scaled_in(adapter: Adapter) -> Adapter:
    """The same change with alpha = rank, which every reader takes where none is told."""
    layers = {
        module: {layer: _scaled(change) for layer, change in changes.items()}
        for module, changes in adapter.layers.items()
    }
    return Adapter(adapter.family, layers, adapter.settings)


def _scaled(change: LowRank) -> LowRank:
    if not change.rooted and change.alpha == change.rank:
        return change
    up = change.up * (change.alpha / change.divisor)
    return LowRank(change.down, up, float(change.rank), False, change.magnitude)


def parts_of(change: LowRank) -> dict[str, Tensor]:
    """The tensors of one layer by peft's names."""
    parts = {"lora_A.weight": change.down, "lora_B.weight": change.up}
    if change.magnitude is None:
        return parts
    shape = [1, -1, 1, 1] if change.up.ndim == 4 else [-1]
    return parts | {"lora_magnitude_vector": change.magnitude.reshape(shape)}


def nested(family: Family, module: str, layer: str) -> str:
    """A CLIP's layer with the level that transformers had until 5.6, which diffusers and older readers expect."""
    return LEVEL + layer.removeprefix(LEVEL) if module in family.clips else layer


def configuration(changes: dict[str, LowRank]) -> dict[str, Any]:
    """peft's LoraConfig of one network, with the values that every version of it knows."""
    first = next(iter(changes.values()))
    own = {
        layer.removeprefix(LEVEL): change for layer, change in changes.items()
    }  # matches with that level and without
    return {
        "r": first.rank,
        "lora_alpha": first.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "rank_pattern": {name: change.rank for name, change in own.items() if change.rank != first.rank},
        "alpha_pattern": {name: change.alpha for name, change in own.items() if change.alpha != first.alpha},
        "target_modules": sorted(own),
        "use_dora": first.magnitude is not None,
        "use_rslora": first.rooted,
    }


def sort_header(path: Path) -> None:
    """The library writes metadata in an order that differs between two saves, and weights are known by their digest."""
    rename(path, path, lambda name: name)
