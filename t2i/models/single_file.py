"""Single-file checkpoints in Stable Diffusion's original layout: one `.safetensors` with U-Net, autoencoder and text encoder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from t2i.errors import UserError
from t2i.models import original, source
from t2i.models.config import Model
from t2i.models.families.family import Family
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
            _fill(part, network, parts, file, path)
    tokenizers = {name: class_of(kind).from_pretrained(words) for name, kind in family.tokenizers.items()}
    return networks, tokenizers, parts["scheduler"]


def _fill(part: str, network: nn.Module, parts: Mapping[str, Any], file: Any, path: Path) -> None:
    state = network.state_dict()
    names = original.names_of(part, state, parts[part])
    present = set(file.keys())
    if part == "text_encoder":  # some converters write the flat layout of transformers 5.6
        flat = f"{original.TEXT}text_model."
        names = {
            ours: theirs if theirs in present else theirs.replace(flat, original.TEXT) for ours, theirs in names.items()
        }
    missing = sorted(theirs for theirs in names.values() if theirs not in present)
    if missing:
        raise UserError(
            f"{path} does not fill the {part}: {len(missing)} of {len(names)} tensors are missing, e.g. {missing[0]}; give a "
            "whole checkpoint, or model.architecture=<folder> with the settings it was made with"
        )
    filled: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        tensor = file.get_tensor(theirs).to(torch.float32)
        shape = tuple(state[ours].shape)
        if part == "vae" and original.is_flat(theirs) and tensor.numel() == state[ours].numel():
            tensor = tensor.reshape(shape)
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


def write(
    networks: Mapping[str, Any], scheduler: Mapping[str, Any], path: Path, dtype: torch.dtype = torch.float32
) -> None:
    """One file with the networks' tensors under their original names; the schedule is in its metadata, and marked as
    trainers do where it predicts velocity.
    """
    tensors: dict[str, Tensor] = {}
    for part, network in networks.items():
        state = network.state_dict()
        for ours, theirs in original.names_of(part, state, getattr(network, "config", {})).items():
            if ours.endswith("position_ids"):
                continue
            tensor = state[ours].detach().cpu().to(dtype)
            flat = part == "vae" and original.is_flat(theirs)
            tensors[theirs] = (tensor[..., None, None] if flat else tensor).clone().contiguous()
    if scheduler.get("prediction_type") == "v_prediction":
        tensors["v_pred"] = torch.zeros(0)
        if scheduler.get("rescale_betas_zero_snr"):
            tensors["ztsnr"] = torch.zeros(0)
    plain = {key: value for key, value in scheduler.items() if not key.startswith("_")}
    save_file(tensors, path, {"format": "pt", source.SCHEDULER: json.dumps(plain, sort_keys=True)})
