"""The networks of a model without their weights, on PyTorch's meta device: shapes and counts at no cost."""

from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from t2i.errors import UserError
from t2i.models import source
from t2i.models.config import Model
from t2i.models.load import Models


def weightless(config: Model) -> Models | None:
    """The model as `load` would give it, every parameter on the meta device; None where its shape cannot be known here:
    neither its files nor an architecture of its name are on this machine.
    """
    parts = _parts(config)
    if parts is None:
        return None
    with torch.device("meta"):
        text = CLIPTextModel(CLIPTextConfig(**parts["text_encoder"]))
        vae, unet = AutoencoderKL(**parts["vae"]), UNet2DConditionModel(**parts["unet"])
    tokenizer = CLIPTokenizer.from_pretrained(source.BUNDLED / "tokenizer")
    return Models(config.name, tokenizer, text, vae, unet, parts["scheduler"], config.resolution, "").freeze()


def _parts(config: Model) -> dict[str, Any] | None:
    try:
        return source.settings(config)
    except UserError:  # not here: the published architecture has the same shapes
        return source.architecture(config) if config.architecture else None
