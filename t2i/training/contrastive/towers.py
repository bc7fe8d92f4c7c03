"""The two encoders of a CLIP: how a tuning starts, what trains at which rate, and the folder that plain transformers loads."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPTokenizer

from t2i.models.clip import load_clip, mean_and_std
from t2i.models.layout import settle_tokenizer
from t2i.models.weights import strictly, text_layout
from t2i.randomness import integer
from t2i.training.contrastive.config import RANDOM, ClipTuning, Projection, Towers

START_SCALE = math.log(1 / 0.07)
"""Of the inverse temperature where a projection starts anew (Radford et al. 2021, sec. 2.5)."""
PREPROCESSOR = "preprocessor_config.json"
ADAPTED = r"({})\..*\.(q_proj|k_proj|v_proj|out_proj)"
MODULES = {Towers.image: ("vision_model",), Towers.text: ("text_model",), Towers.both: ("vision_model", "text_model")}
HEADS = {"vision_model": "visual_projection", "text_model": "text_projection"}


@dataclass
class Clip:
    """A CLIP that trains: the network, its tokenizer and what its pixels are."""

    model: Any
    """A CLIPModel, with adapters inside where `adapters` is given."""
    tokenizer: CLIPTokenizer
    preprocessor: dict[str, Any]
    mean: np.ndarray
    std: np.ndarray
    adapters: Any = None
    """What peft wrapped around the model."""

    @property
    def size(self) -> int:
        """Side of its pictures in pixels."""
        return int(self.model.vision_model.config.image_size)

    @property
    def tokens(self) -> int:
        """Longest caption in tokens, start and end included."""
        return min(self.tokenizer.model_max_length, self.model.text_model.config.max_position_embeddings)

    def image_features(self, pixels: np.ndarray, device: torch.device) -> torch.Tensor:
        """uint8 (N, size, size, 3) -> projected features (N, D)."""
        mean, std = (torch.tensor(v, dtype=torch.float32, device=device).view(3, 1, 1) for v in (self.mean, self.std))
        tensor = (torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255 - mean) / std
        features: torch.Tensor = self.model.visual_projection(
            self.model.vision_model(pixel_values=tensor).pooler_output
        )
        return features

    def text_features(self, captions: Sequence[str], device: torch.device) -> torch.Tensor:
        """N captions -> projected features (N, D); cut at the tokenizer's length with the end token kept."""
        tokens = self.tokenizer(
            list(captions), padding=True, truncation=True, max_length=self.tokens, return_tensors="pt"
        ).to(device)
        states = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        features: torch.Tensor = self.model.text_projection(states.pooler_output)
        return features

    def save(self, folder: Path) -> None:
        """A CLIPModel as transformers saves it, adapters merged into the weights, with tokenizer and preprocessing."""
        if self.adapters is not None:
            self.model, self.adapters = self.adapters.merge_and_unload(), None
        self.model.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)
        settle_tokenizer(folder)
        (folder / PREPROCESSOR).write_text(json.dumps(self.preprocessor, indent=2), encoding="utf-8")


def start(config: ClipTuning, folder: Path, pipeline: Optional[Path] = None) -> Clip:
    """The CLIP that a tuning starts from, in float32, nothing trained yet.

    folder: a CLIP's. pipeline: a diffusion model's, whose text encoder and tokenizer become the text tower's where
    `text_from_model` is set. Raises UserError when one of them cannot be loaded.
    """
    mean, std = mean_and_std(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder if pipeline is None else pipeline / "tokenizer")
    settings: Any = CLIPConfig.from_pretrained(folder)
    text = strictly(CLIPTextModel, pipeline / "text_encoder") if pipeline is not None else None
    if text is not None:
        settings.text_config = type(settings.text_config)(**text.config.to_dict())
    settings.torch_dtype = "float32"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer(config.seed, "clip", "fresh weights") % 2**31)
        model: Any = CLIPModel(settings)
    fresh = model.state_dict()
    state = dict(fresh) if config.source == RANDOM else load_clip(folder).state_dict()
    if text is not None:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("text_")}
        plain = text_layout(text.state_dict(), ())
        state |= {f"text_model.{name}": tensor for name, tensor in plain.items()}
        state["text_projection.weight"] = fresh["text_projection.weight"]
    if config.projection is Projection.fresh:
        state |= {f"{head}.weight": fresh[f"{head}.weight"] for head in HEADS.values()}
    if config.fresh:
        state["logit_scale"] = torch.tensor(START_SCALE)
    model.load_state_dict(state, strict=True)
    preprocessor = json.loads((folder / PREPROCESSOR).read_text(encoding="utf-8"))
    return Clip(model.eval().requires_grad_(False), tokenizer, preprocessor, mean, std)


def attach(clip: Clip, config: ClipTuning) -> dict[str, nn.Parameter]:
    """Let the configured parameters require gradients and return them by name; adapters begin as the identity."""
    modules = MODULES[config.towers]
    if config.rank is not None:
        from peft import LoraConfig, get_peft_model

        with torch.random.fork_rng(devices=[]):  # adapters begin alike in every run and every process
            torch.manual_seed(integer(config.seed, "clip", "adapters") % 2**31)
            lora = LoraConfig(r=config.rank, lora_alpha=config.rank, target_modules=ADAPTED.format("|".join(modules)))
            clip.adapters = get_peft_model(clip.model, lora)
            clip.adapters.eval()
    else:
        for module in modules:
            clip.model.get_submodule(module).requires_grad_(True)
            clip.model.get_submodule(HEADS[module]).requires_grad_(True)
    if config.projection is Projection.fresh or config.source == RANDOM:
        clip.model.visual_projection.requires_grad_(True)
    if config.fresh:
        clip.model.text_projection.requires_grad_(True)
    clip.model.logit_scale.requires_grad_(True)
    return {name: parameter for name, parameter in clip.model.named_parameters() if parameter.requires_grad}


def groups(clip: Clip, config: ClipTuning, parameters: dict[str, nn.Parameter]) -> list[dict[str, Any]]:
    """Groups of an optimizer: rates fall by `layer_decay` from each layer to the one below it (Howard and Ruder 2018,
    arXiv:1801.06146, sec. 3.2); gains, biases and the temperature are not decayed (Radford et al. 2021, sec. 2.5).
    """
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        rate = config.learning_rate * config.layer_decay ** height(name, clip.model)
        if name in {f"{head}.weight" for head in HEADS.values()} and config.head_learning_rate is not None:
            rate = config.head_learning_rate
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        found.setdefault((rate, decay), []).append(parameter)
    return [{"params": own, "lr": rate, "weight_decay": decay} for (rate, decay), own in found.items()]


def height(name: str, model: Any) -> int:
    """How many layers lie above a parameter: 0 for projections and last norms, the number of layers + 1 for embeddings."""
    module, _, inner = name.partition(".")
    if module not in HEADS:
        return 0
    layers = model.get_submodule(module).config.num_hidden_layers
    if inner.startswith("encoder.layers."):
        return int(layers - int(inner.split(".")[2]))
    return int(layers + 1) if inner.startswith(("embeddings.", "pre_layrnorm.")) else 0
