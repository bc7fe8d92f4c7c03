"""A CLIP in open_clip's layout (HPSv2.1's checkpoint) as transformers' CLIPModel: every tensor is moved, none is left or made up.

open_clip keeps query, key and value of a layer as one matrix (`attn.in_proj_weight`, in that order, as torch's
MultiheadAttention), and multiplies by projections from the right, so that those are transposed.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel

from t2i.errors import UserError

PLAIN = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
TRANSPOSED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
TOWERS = {"": "text_model", "visual.": "vision_model"}
OF_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
LAYER = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)$")
IGNORED = frozenset({"attn_mask"})
"""The causal mask, which older checkpoints hold though nothing is learnt in it."""
HEADS = {1280: 16}
"""Heads of a picture tower by its width where they are not 64 wide: ViT-H's are 80 (open_clip's ViT-H-14.json)."""


def load(path: Path) -> CLIPModel:
    """The model in float32 and eval mode, frozen, of a `.pt` (read as tensors and plain containers only) or safetensors file.

    Raises UserError when the file is damaged, holds a tensor that has no place in a CLIP, or lacks one.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read as a file of weights ({' '.join(str(error).split())[:120]}): copy it again from its source"
        ) from error
    inner = found.get("state_dict", found) if isinstance(found, dict) else {}
    return convert({str(name).removeprefix("module."): own for name, own in inner.items()}, str(path))


def convert(state: Mapping[str, torch.Tensor], where: str) -> CLIPModel:
    """The model of a state dict in open_clip's layout; `where`: what a sentence about it names."""
    try:
        config = config_of(state)
    except KeyError as error:
        raise UserError(
            f"{where} lacks {error.args[0]}: expected a CLIP with two transformers in open_clip's layout, as "
            "HPS_v2.1_compressed.pt"
        ) from error
    with torch.device("meta"):
        model = CLIPModel(config)
    moved: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if name not in IGNORED:
            moved |= {key: own.detach().float().contiguous() for key, own in _places(name, tensor, where).items()}
    wanted = {name: tuple(own.shape) for name, own in model.state_dict().items()}
    if absent := sorted(wanted.keys() - moved.keys()):
        raise UserError(f"{where} lacks {len(absent)} tensors of a CLIP, {absent[0]} among them: copy it again")
    for name, tensor in moved.items():
        if tuple(tensor.shape) != wanted.get(name):
            raise UserError(
                f"{where} has {name} of shape {tuple(tensor.shape)}; expected {wanted.get(name, 'no such tensor')}"
            )
    model.load_state_dict(moved, assign=True)
    # What is no weight is not in the file: positions of tokens and patches.
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                module.register_buffer(name, torch.arange(buffer.shape[-1]).expand(1, -1), persistent=False)
    return model.eval().requires_grad_(False)


def config_of(state: Mapping[str, torch.Tensor]) -> CLIPConfig:
    """Sizes, as the tensors have them; GELU, as ViT-H-14 of LAION-2B. KeyError names a tensor that is not there."""
    words, width = state["token_embedding.weight"].shape
    patches, seen = state["visual.positional_embedding"].shape
    patch = state["visual.conv1.weight"].shape[-1]
    layers = dict.fromkeys(TOWERS, 0)
    for name in state:
        if found := LAYER.match(name):
            layers[found[1] or ""] = max(layers[found[1] or ""], int(found[2]) + 1)
    return CLIPConfig(
        text_config={
            "vocab_size": words,
            "hidden_size": width,
            "intermediate_size": state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            "num_hidden_layers": layers[""],
            "num_attention_heads": max(1, width // 64),
            "max_position_embeddings": state["positional_embedding"].shape[0],
            "hidden_act": "gelu",
            "bos_token_id": words - 2,
            "eos_token_id": words - 1,  # the last word ends a caption, and its state is the caption's
            "pad_token_id": words - 1,
        },
        vision_config={
            "hidden_size": seen,
            "intermediate_size": state["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            "num_hidden_layers": layers["visual."],
            "num_attention_heads": HEADS.get(seen, max(1, seen // 64)),
            "image_size": round((patches - 1) ** 0.5) * patch,
            "patch_size": patch,
            "hidden_act": "gelu",
        },
        projection_dim=state["text_projection"].shape[1],
    )


def _places(name: str, tensor: torch.Tensor, where: str) -> dict[str, torch.Tensor]:
    """Where a tensor goes in CLIPModel, by name: one place, or three of a fused one."""
    if name in PLAIN:
        return {PLAIN[name]: tensor}
    if name in TRANSPOSED:
        return {TRANSPOSED[name]: tensor.T}
    if found := LAYER.match(name):
        tower, number, part, kind = found.groups()
        start = f"{TOWERS[tower or '']}.encoder.layers.{number}"
        if part == "attn.in_proj":
            names = (f"{start}.self_attn.{own}_proj.{kind}" for own in ("q", "k", "v"))
            return dict(zip(names, tensor.chunk(3), strict=True))
        if part in OF_LAYER:
            return {f"{start}.{OF_LAYER[part]}.{kind}": tensor}
    raise UserError(
        f"{where} holds {name}, which is no part of a CLIP in open_clip's layout: expected HPS_v2.1_compressed.pt or the like"
    )
