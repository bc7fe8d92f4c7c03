"""A tuned CLIP's text tower as the text encoder of a diffusion model: when it fits, and the sentence when it does not."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPTokenizer

from t2i.errors import UserError
from t2i.models.clip import load_clip
from t2i.models.parts import Models
from t2i.models.weights import module_digest, text_layout
from t2i.store import write_json

KIND = "clip"
"""Of the strategy in the description beside a tuned CLIP."""
DESCRIPTION = "strategy.json"
log = logging.getLogger("t2i")


def describe(folder: Path, origin: str, facts: dict[str, Any]) -> None:
    """`strategy.json` beside a tuned CLIP; origin: `module_digest` of the text tower before it was tuned."""
    write_json(folder / DESCRIPTION, {"strategy": {"kind": KIND}, "origin": origin, **facts})


def widths(folder: Path, models: Models) -> tuple[int, int]:
    """Of the text states that the CLIP in `folder` gives, and of those that the U-Net reads."""
    settings: Any = CLIPConfig.from_pretrained(folder)
    return int(settings.text_config.hidden_size), int(models.denoiser.config["cross_attention_dim"])


def misfit(folder: Path, models: Models) -> str:
    """Why the text tower in `folder` cannot be the text encoder of `models`, and what to do; empty when it can."""
    if models.family.unlike_clip:
        return (
            f"the text tower in {folder} is a CLIP's, and model={models.name} reads {models.family.unlike_clip}, which no tower "
            "can stand in for: tune its own (task=train strategy=text_encoder or strategy=lora "
            "strategy.text_targets=[q_proj,v_proj])"
        )
    found, wanted = widths(folder, models)
    if found != wanted:
        teacher = "clip.source=openai/clip-vit-large-patch14" if wanted == 768 else "clip.text_from_model=true"
        return (
            f"the text tower in {folder} gives states of width {found} and the U-Net of model={models.name} reads "
            f"{wanted}: tune one that fits (task=clip {teacher}), or train a linear adapter between the two "
            f"(task=train strategy=text_adapter strategy.clip={folder})"
        )
    settings: Any = CLIPConfig.from_pretrained(folder)
    own = models.text_encoder.config
    sizes = [(c.vocab_size, c.max_position_embeddings) for c in (settings.text_config, own)]
    if sizes[0] != sizes[1] or CLIPTokenizer.from_pretrained(folder).get_vocab() != models.tokenizer.get_vocab():
        return (
            f"the text tower in {folder} reads {sizes[0][0]} words in {sizes[0][1]} tokens and that of "
            f"model={models.name} {sizes[1][0]} in {sizes[1][1]}, or the same words under other numbers: tune the "
            "model's own text encoder (task=clip clip.text_from_model=true)"
        )
    return ""


@torch.no_grad()
def place(models: Models, folder: Path) -> None:
    """Put the text tower of the CLIP in `folder` into `models`, every weight of it; UserError when it does not fit."""
    if reason := misfit(folder, models):
        raise UserError(reason)
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if description["origin"] != module_digest(models.text_encoder):
        log.warning(
            "the text tower in %s was not tuned from the text encoder of model=%s: its states mean something else to the "
            "U-Net; tune with clip.text_from_model=true to start from it",
            folder,
            models.name,
        )
    tower: Any = load_clip(folder).text_model
    encoder = type(models.text_encoder)(tower.config)
    encoder.load_state_dict(text_layout(tower.state_dict(), encoder.state_dict()), strict=True)
    models.modules["text_encoder"] = encoder.requires_grad_(False).eval()
