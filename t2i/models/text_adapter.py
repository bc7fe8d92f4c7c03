"""A text encoder of another width: a CLIP's text tower and one linear layer to the width that the U-Net reads."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import CLIPTokenizer

from t2i.models.clip import load_clip
from t2i.models.layout import settle_text_encoder, settle_tokenizer
from t2i.models.parts import Models
from t2i.models.weights import class_of, strictly, text_layout

TOWER, TOKENIZER = "tower", "tokenizer"


class AdaptedTextEncoder(nn.Module):
    """A frozen text tower followed by a linear layer without bias, called as the text encoder of a pipeline is."""

    def __init__(self, tower: Any, width: int) -> None:
        super().__init__()
        self.tower = tower
        self.adapter = nn.Linear(int(self.tower.config.hidden_size), width, bias=False)

    @property
    def config(self) -> Any:
        """Of the tower."""
        return self.tower.config

    @property
    def dtype(self) -> torch.dtype:
        """Of the tower; the adapter may train in float32."""
        return next(self.tower.parameters()).dtype

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> tuple[torch.Tensor]:
        """Token ids (N, tokens) -> states (N, tokens, width), alone in a tuple as diffusers expects them."""
        states = self.tower(input_ids=input_ids, attention_mask=attention_mask)[0]
        return (self.adapter(states.to(self.adapter.weight.dtype)).to(states.dtype),)


def place(models: Models, folder: Path) -> None:
    """Give `models` the text tower and tokenizer of a CLIP, or of a folder that `keep` wrote, with a new adapter.

    The adapter begins with normal weights of variance 1 / width of the tower (its states are normalised), the same in
    every process.
    """
    kind = class_of(models.family.networks["text_encoder"])
    if (folder / TOWER).is_dir():
        tower, tokenizer = strictly(kind, folder / TOWER), CLIPTokenizer.from_pretrained(folder / TOKENIZER)
    else:
        source: Any = load_clip(folder).text_model
        tower = kind(source.config)
        tower.load_state_dict(text_layout(source.state_dict(), tower.state_dict()), strict=True)
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = min(tokenizer.model_max_length, tower.config.max_position_embeddings)
    encoder = AdaptedTextEncoder(tower, int(models.denoiser.config["cross_attention_dim"]))
    generator = torch.Generator("cpu").manual_seed(0)
    with torch.no_grad():
        encoder.adapter.weight.normal_(0.0, tower.config.hidden_size**-0.5, generator=generator)
    models.modules["text_encoder"] = encoder.requires_grad_(False).eval()
    models.tokenizers["tokenizer"] = tokenizer


def keep(models: Models, folder: Path) -> None:
    """Write the tower and its tokenizer below `folder`, so that the adapter can be used without its CLIP."""
    encoder: Any = models.text_encoder
    encoder.tower.save_pretrained(folder / TOWER, safe_serialization=True)
    models.tokenizer.save_pretrained(folder / TOKENIZER)
    settle_text_encoder(folder / TOWER)
    settle_tokenizer(folder / TOKENIZER)


@torch.no_grad()
def fold(models: Models) -> None:
    """Move the adapter into the U-Net: keys and values are W (A h) = (W A) h, so that the plain tower and a denoiser
    that reads its width give the same pictures, and plain diffusers loads both.
    """
    encoder: Any = models.text_encoder
    adapter = encoder.adapter.weight.float()
    for name, module in models.denoiser.named_modules():
        if name.endswith(models.family.text_projections):
            layer: Any = module
            layer.weight = nn.Parameter((layer.weight.float() @ adapter).to(layer.weight.dtype), requires_grad=False)
            layer.in_features = adapter.shape[1]
    models.denoiser.register_to_config(cross_attention_dim=adapter.shape[1])
    models.modules["text_encoder"] = encoder.tower
