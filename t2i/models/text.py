"""Captions to token ids of a CLIP's tokenizer."""

import re
from collections.abc import Sequence

import torch

from t2i.models.parts import Models


def tokenize(
    models: Models, captions: Sequence[str], name: str = "tokenizer", limit: int | None = None
) -> torch.Tensor:
    """Token ids, int64 (N, tokens): padded to `limit`, the tokenizer's own unless given, cut there with the end token kept."""
    tokenizer = models.tokenizers[name]
    encoded = tokenizer(
        [spelt_out(models, caption) for caption in captions],
        padding="max_length",
        max_length=limit or tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids: torch.Tensor = encoded.input_ids
    return ids


def spelt_out(models: Models, caption: str) -> str:
    """The caption with every word of a textual inversion as all of its tokens; the longest word counts."""
    if not models.words:
        return caption
    words = sorted(models.words, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, words)), lambda match: models.words[match[0]], caption)
