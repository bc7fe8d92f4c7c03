"""Captions to text states: what the U-Net's cross-attention reads."""

import re
from collections.abc import Sequence

import torch

from t2i.models.load import Models


def tokenize(models: Models, captions: Sequence[str]) -> torch.Tensor:
    """Token ids, int64 (N, tokens): padded to the tokenizer's limit, cut there with the end token kept."""
    encoded = models.tokenizer(
        [spelt_out(models, caption) for caption in captions],
        padding="max_length",
        max_length=models.tokenizer.model_max_length,
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


@torch.no_grad()
def text_states(models: Models, captions: Sequence[str], batch_size: int = 64) -> torch.Tensor:
    """Last hidden states of the text encoder: (N, tokens, width) on its device, in its dtype."""
    device = next(models.text_encoder.parameters()).device
    rows = [
        models.text_encoder(tokenize(models, captions[start : start + batch_size]).to(device))[0]
        for start in range(0, len(captions), batch_size)
    ]
    return torch.cat(rows)
