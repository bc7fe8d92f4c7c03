"""Single-file checkpoints in Stable Diffusion's original layout: one `.safetensors` with U-Net, autoencoder and text encoders."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from t2i.errors import ConfigError, UserError
from t2i.models import original, source
from t2i.models.config import Model
from t2i.models.families.family import Family
from t2i.models.parts import Models
from t2i.models.weights import class_of, networks_of


def read(config: Model, family: Family, path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The networks in float32 by name, the tokenizers and the noise schedule of a checkpoint.

    Raises UserError when a tensor is missing or of another shape; what belongs to none of them (a moving average, the noise
    schedule's buffers) is left.
    """
    parts, words = source.candidate(config, path)
    with torch.device("meta"):
        networks = networks_of(family, parts)
    with safe_open(path, framework="pt") as file:
        for part, network in networks.items():
            _fill(part, network, parts[part], family.prefixes(parts)[part], file, path)
    return networks, _tokenizers(family, parts, words), parts["scheduler"]


def _tokenizers(family: Family, parts: Mapping[str, Any], words: Path) -> dict[str, Any]:
    """Of the folder that settings came from, or the published vocabulary, which all of a family's tokenizers share."""
    found: dict[str, Any] = {}
    for name, kind in family.tokenizers.items():
        own = words.parent / name if (words.parent / name).is_dir() else words
        found[name] = class_of(kind).from_pretrained(own)
        if words == source.VOCABULARY and (pad := family.padding(name, parts)):
            found[name].pad_token = pad
    return found


def _fill(part: str, network: nn.Module, settings: Mapping[str, Any], prefix: str, file: Any, path: Path) -> None:
    state = network.state_dict()
    names = original.places(part, state, settings, prefix)
    present = set(file.keys())
    # some converters write the flat layout of transformers 5.6
    flat = {name: place.name.replace(f"{prefix}text_model.", prefix) for name, place in names.items()}
    names = {n: place if place.name in present else place._replace(name=flat[n]) for n, place in names.items()}
    missing = sorted({place.name for place in names.values()} - present)
    if missing:
        raise UserError(
            f"{path} does not fill the {part}: {len(missing)} of {len(names)} tensors are missing, e.g. {missing[0]}; give a "
            "whole checkpoint, or model.architecture=<folder> with the settings it was made with"
        )
    filled: dict[str, Tensor] = {}
    for ours, place in names.items():
        theirs, tensor = place.name, file.get_tensor(place.name).to(torch.float32)
        shape = tuple(state[ours].shape)
        if part == "vae" and place.flat and tensor.numel() == state[ours].numel():
            tensor = tensor.reshape(shape)
        if place.third is not None and len(tensor) == 3 * shape[0]:
            tensor = tensor[place.third * shape[0] : (place.third + 1) * shape[0]].clone()
        tensor = tensor.T.contiguous() if place.turned else tensor
        if tuple(tensor.shape) != shape:
            raise UserError(
                f"{path} does not fit the {part}: {theirs} has shape {tuple(tensor.shape)} in place of {shape}; give "
                "model.architecture=<folder> with the settings it was made with"
            )
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{path} holds a value that is not finite in {theirs}; it would spoil every picture")
        filled[ours] = tensor
    network.load_state_dict(filled, strict=True, assign=True)
    # Buffers that no file holds (position ids) were made on the meta device too.
    for module in network.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                module.register_buffer(name, torch.arange(buffer.numel()).reshape(buffer.shape), persistent=False)


def write(models: Models, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """One file with the networks' tensors under their original names; the schedule is in its metadata, and marked as
    trainers do where it predicts velocity.
    """
    tensors: dict[str, Tensor] = {}
    scheduler, networks = models.scheduler_config, models.modules
    prefixes = models.family.prefixes({name: network.config for name, network in networks.items()})
    if not prefixes:
        raise ConfigError(f"{models.family.title} has no single file that is written here; use format=diffusers")
    for part, network in networks.items():
        state = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("position_ids")}
        thirds: dict[str, dict[int, Tensor]] = {}
        for ours, place in original.places(part, state, getattr(network, "config", {}), prefixes[part]).items():
            tensor = state[ours].detach().cpu().to(dtype)
            tensor = tensor[..., None, None] if part == "vae" and place.flat else tensor
            if place.third is None:
                tensors[place.name] = (tensor.T if place.turned else tensor).clone().contiguous()
            else:
                thirds.setdefault(place.name, {})[place.third] = tensor
        tensors |= {name: torch.cat([rows[number] for number in range(3)]) for name, rows in thirds.items()}
    if scheduler.get("prediction_type") == "v_prediction":
        tensors["v_pred"] = torch.zeros(0)
        if scheduler.get("rescale_betas_zero_snr"):
            tensors["ztsnr"] = torch.zeros(0)
    plain = {key: value for key, value in scheduler.items() if not key.startswith("_")}
    save_file(tensors, path, {"format": "pt", source.SCHEDULER: json.dumps(plain, sort_keys=True)})
