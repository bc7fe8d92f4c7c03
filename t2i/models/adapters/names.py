"""The names of an adapter's tensors in every tool's spelling, as (network, layer, what of it).

- peft and diffusers: `unet.down_blocks.0...to_q.lora_A.weight`, in a peft folder `base_model.model....lora_A.weight`
- diffusers until 0.20: `unet....attn1.processor.to_q_lora.down.weight`, `text_encoder....q_proj.lora_linear_layer.up.weight`
- kohya (sd-scripts, and LyCORIS after it): `lora_unet_` or `lora_te_`, the layer's path with `_` for `.`, then
  `.lora_down.weight`, `.lora_up.weight`, `.lora_mid.weight`, `.alpha`, `.dora_scale`
"""

import re
from dataclasses import dataclass

UNET, TRANSFORMER, TEXT, TEXT_2 = "unet", "transformer", "text_encoder", "text_encoder_2"
PREFIXES = {
    "lora_unet_": UNET,
    "lora_te1_": TEXT,
    "lora_te2_": TEXT_2,
    "lora_te_": TEXT,
    "text_encoder_2.": TEXT_2,
    "text_encoder.": TEXT,
    "unet.": UNET,
    "transformer.": TRANSFORMER,
    "model.diffusion_model.": UNET,
    "diffusion_model.": UNET,
}
WRAPPER = "base_model.model."
PARTS = {
    r"\.lora_A(\.\w+)?\.weight": "down",
    r"\.lora_B(\.\w+)?\.weight": "up",
    r"\.lora_down\.weight": "down",
    r"\.lora_up\.weight": "up",
    r"\.lora_mid\.weight": "mid",
    r"(\.lora|_lora|\.lora_linear_layer)\.down\.weight": "down",
    r"(\.lora|_lora|\.lora_linear_layer)\.up\.weight": "up",
    r"\.alpha": "alpha",
    r"\.dora_scale": "magnitude",
    r"\.lora_magnitude_vector(\.\w+)?(\.weight)?": "magnitude",
}
FOREIGN = {
    r"hada_w": "LoHa",
    r"lokr_w": "LoKr",
    r"\.b?oft_": "OFT",
    r"\.on_input$|ia3_l": "IA3",
    r"lora_embedding": "LoRA on embeddings",
    r"lora_B(\.\w+)?\.bias$": "LoRA with biases",
    r"\.[wb]_norm$": "LyCORIS with tuned norms",
    r"\.diff(_b)?$|\.set_weight$": "LyCORIS with full differences",
    r"vera_lambda": "VeRA",
}
"""What in a name gives another kind of adapter away."""


@dataclass(frozen=True)
class Key:
    """One tensor of an adapter."""

    network: str | None
    """unet, transformer, text_encoder, text_encoder_2; None where the file does not say (a peft folder)."""
    layer: str
    """The layer's path as it is spelt, with dots or underscores."""
    part: str
    """down, up, mid, alpha or magnitude."""


def parse(name: str) -> Key | None:
    """None for a tensor that belongs to no low-rank adapter."""
    rest = name.removeprefix(WRAPPER)
    network = None
    for prefix, own in PREFIXES.items():
        if rest.startswith(prefix):
            network, rest = own, rest.removeprefix(prefix).removeprefix(WRAPPER)
            break
    for pattern, part in PARTS.items():
        if match := re.search(f"{pattern}$", rest):
            return Key(network, _modern(rest[: match.start()]), part)
    return None


def _modern(layer: str) -> str:
    """`attn1.processor.to_out` of older diffusers is `attn1.to_out.0`; in its text encoders, `to_q` is `q_proj`."""
    layer = layer.replace(".processor.", ".")
    if "self_attn.to_" in layer:
        return re.sub(r"self_attn\.to_(q|k|v|out)$", r"self_attn.\1_proj", layer)
    return re.sub(r"(attn\d)\.to_out$", r"\1.to_out.0", layer)


def kohya(prefix: str, path: str) -> str:
    """sd-scripts' name of a layer: what its files' tensors begin with. prefix: the family's for the network; path: with dots,
    as the family's `kohya_path` gives it.
    """
    return prefix + path.replace(".", "_")
