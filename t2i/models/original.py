"""Stable Diffusion's original names of tensors, those of single-file checkpoints, from the names that diffusers gives them.

CompVis numbers the U-Net's blocks through (`input_blocks.4.1`) where diffusers nests them (`down_blocks.1.attentions.0`),
and counts the decoder's levels from the full resolution. The way back is the same table read from the right.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Optional

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
OPEN_CLIP = ".model."
"""The end of the prefix of a text encoder that is in OpenCLIP's layout."""

ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_name(name: str, config: Mapping[str, Any]) -> str:
    """The original name of a layer or tensor of a U-Net (without `model.diffusion_model.`)."""
    for ours, theirs in ENDS.items():
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    per = int(config["layers_per_block"]) + 1
    part, _, rest = name.partition(".")
    if part == "mid_block":
        kind, number, inner = rest.split(".", 2)
        place = {"resnets.0": 0, "attentions.0": 1, "resnets.1": 2}[f"{kind}.{number}"]
        return f"middle_block.{place}.{_resnet(inner) if kind == 'resnets' else inner}"
    block, kind, number, inner = rest.split(".", 3)
    i, j = int(block), int(number)
    if part == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(i + 1) * per}.0.op{inner.removeprefix('conv')}"
        place = 1 + i * per + j
        return f"input_blocks.{place}.{_inside(kind, inner)}"
    if kind == "upsamplers":
        attends = "CrossAttn" in config["up_block_types"][i]
        return f"output_blocks.{i * per + per - 1}.{2 if attends else 1}.{inner}"
    return f"output_blocks.{i * per + j}.{_inside(kind, inner)}"


def _inside(kind: str, inner: str) -> str:
    return f"0.{_resnet(inner)}" if kind == "resnets" else f"1.{inner}"


def _resnet(inner: str) -> str:
    layer, dot, rest = inner.partition(".")
    return RESNET[layer] + dot + rest


def vae_name(name: str, config: Mapping[str, Any]) -> str:
    """The original name of a tensor of an autoencoder (without `first_stage_model.`)."""
    half, _, rest = name.partition(".")
    if half not in ("encoder", "decoder"):
        return name  # quant_conv, post_quant_conv
    rest = rest.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    rest = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", rest)
    if (match := re.fullmatch(r"mid_block\.attentions\.0\.(.+)\.(weight|bias)", rest)) is not None:
        rest = f"mid.attn_1.{VAE_ATTENTION[match[1]]}.{match[2]}"
    rest = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", rest)
    rest = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", rest)
    last = len(config["up_block_types"]) - 1
    rest = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{last - int(m[1])}.block", rest)
    rest = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{last - int(m[1])}.upsample", rest)
    return f"{half}.{rest}"


class Place(NamedTuple):
    """Where a tensor is in a single file."""

    name: str
    """With the prefix of its network."""
    third: Optional[int] = None
    """Which third of its rows, where OpenCLIP keeps query, key and value in one."""
    turned: bool = False
    """Whether it is transposed there."""

    @property
    def flat(self) -> bool:
        """Whether it is a 1 x 1 convolution there, of the autoencoder, and a linear layer here."""
        return bool(re.search(r"mid\.attn_1\.(q|k|v|proj_out)\.weight$", self.name))


def places(part: str, names: Iterable[str], config: Mapping[str, Any], prefix: str) -> dict[str, Place]:
    """diffusers' names of a part's tensors to their places in a single file. config: the part's settings; prefix: as the
    family has it.
    """
    if part.startswith("text_encoder"):
        place = _open_clip if prefix.endswith(OPEN_CLIP) else _clip
        return {name: place(name, prefix) for name in names}
    rename = unet_name if part == "unet" else vae_name
    return {name: Place(prefix + rename(name, config)) for name in names}


def _clip(name: str, prefix: str) -> Place:
    return Place(f"{prefix}text_model.{name.removeprefix('text_model.')}")


RESBLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
OUTSIDE = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def _open_clip(name: str, prefix: str) -> Place:
    """OpenCLIP's layout (Ilharco et al. 2021)."""
    if name == "text_projection.weight":
        return Place(f"{prefix}text_projection", turned=True)
    name = name.removeprefix("text_model.")
    if name in OUTSIDE:
        return Place(prefix + OUTSIDE[name])
    number, _, inner = name.removeprefix("encoder.layers.").partition(".")
    layer, _, kind = inner.rpartition(".")
    block = f"{prefix}transformer.resblocks.{number}"
    if layer in RESBLOCK:
        return Place(f"{block}.{RESBLOCK[layer]}.{kind}")
    return Place(f"{block}.attn.in_proj_{kind}", third="qkv".index(layer.removeprefix("self_attn.")[0]))
