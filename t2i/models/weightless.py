"""The networks of a model without their weights, on PyTorch's meta device: shapes and counts at no cost."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import CLIPTokenizer

from t2i.errors import UserError
from t2i.models import source
from t2i.models.config import Model
from t2i.models.families.family import Family
from t2i.models.parts import Models
from t2i.models.tokenizer import PLAIN
from t2i.models.weights import networks_of


def weightless(config: Model) -> Models | None:
    """The model as `load` would give it, every parameter on the meta device; None where its shape cannot be known here:
    neither its files nor an architecture of its name are on this machine.
    """
    parts = _parts(config)
    if parts is None:
        return None
    family = source.family_of_settings(parts)
    with torch.device("meta"):
        networks = networks_of(family, parts)
    tokenizers = tokenizers_for(family, parts)
    models = Models(config.name, family, networks, tokenizers, parts["scheduler"], config.resolution, "")
    models.options = source.options(family, parts)
    return models.freeze()


def tokenizers_for(family: Family, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Stand-ins for a network without a vocabulary: none is bundled for the full-size models; the tiny one's ids are all
    inside their embedding tables. Each is as long as its text encoder reads.
    """
    found: dict[str, Any] = {}
    for name in family.tokenizers:
        found[name] = tokenizer = CLIPTokenizer.from_pretrained(source.BUNDLED / "tokenizer")
        limit = parts[name.replace("tokenizer", "text_encoder")].get("max_position_embeddings")
        tokenizer.model_max_length = limit or tokenizer.model_max_length
        tokenizer.chat_template = PLAIN
    return found


def _parts(config: Model) -> dict[str, Any] | None:
    try:
        return source.settings(config)
    except UserError:  # not here: the published architecture has the same shapes
        return source.architecture(config) if config.architecture else None
