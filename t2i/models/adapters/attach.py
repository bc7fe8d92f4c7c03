"""Low-rank adapters beside a model's layers, through peft: put there, taken off, added to the weights, read back."""

import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from t2i.errors import UserError
from t2i.models.adapters.low_rank import Adapter, LowRank
from t2i.models.parts import Models


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


def rescale(models: Models, name: str, scale: float) -> None:
    """Another share of an adapter that `place` put there under this name: the same bits as if it had been placed with it."""
    from peft.tuners.lora.layer import LoraLayer

    for module in models.family.trained:
        for layer in models.modules[module].modules():
            if isinstance(layer, LoraLayer):
                for own in (name, f"{name}_dora"):
                    layer.set_scale(own, scale)


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
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():  # nothing that is drawn here is kept
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several adapters are what is meant
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
    _unwrap(models, merged=True)


def remove(models: Models) -> None:
    """Take every adapter off."""
    _unwrap(models, merged=False)


def _unwrap(models: Models, merged: bool) -> None:
    from diffusers.utils.peft_utils import recurse_remove_peft_layers
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name in models.family.trained:
        adapted: Any = models.modules[name]
        layers = [module for module in adapted.modules() if isinstance(module, BaseTunerLayer)]
        if not layers:
            continue
        for layer in layers if merged else []:
            layer.merge(adapter_names=list(layer.active_adapters))
        recurse_remove_peft_layers(adapted)
        adapted.peft_config.clear()
        adapted._hf_peft_config_loaded = False
    models.freeze()


def adapter_of(models: Models) -> Adapter:
    """What is beside a model's layers now, as one adapter: several on a layer become one of their ranks together, exactly.

    Raises UserError where one of several is a DoRA, which is no sum, and for an embedding, which no adapter file holds.
    """
    found = Adapter.of(models)
    for module in models.family.trained:
        for layer, own in models.modules[module].named_modules():
            if getattr(own, "lora_embedding_A", {}):
                raise UserError(
                    f"{module}.{layer} is an embedding, and files of adapters hold linear and convolutional layers only; take "
                    f"{layer.rpartition('.')[2]} out of the strategy's targets"
                )
            changes = [_taken(own, name) for name in getattr(own, "lora_A", {})]
            if len(changes) > 1 and any(change.magnitude is not None for change in changes):
                raise UserError(
                    f"{len(changes)} adapters change {module}.{layer}, one of them a DoRA, and no file of one adapter holds "
                    "their sum; use format=diffusers or format=single_file with fused=true"
                )
            if changes:
                found.layers.setdefault(module, {})[layer] = changes[0] if len(changes) == 1 else _together(changes)
    return found


def _together(changes: list[LowRank]) -> LowRank:
    """s up down + t up' down' = [s up, t up'] [down; down'], of the ranks' sum."""
    down = torch.cat([change.down for change in changes])
    up = torch.cat([change.up * (change.alpha / change.divisor) for change in changes], dim=1)
    return LowRank(down, up, float(len(down)))


def _taken(layer: Any, name: str) -> LowRank:
    vector = getattr(layer, "lora_magnitude_vector", {})
    rooted = bool(layer.use_rslora.get(name)) if isinstance(getattr(layer, "use_rslora", None), dict) else False
    rank = int(layer.r[name])
    divisor = math.sqrt(rank) if rooted else rank
    magnitude = vector[name].weight.detach().flatten() if name in vector else None
    down, up = layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach()
    return LowRank(down.cpu(), up.cpu(), float(layer.scaling[name]) * divisor, rooted, magnitude)
