"""A CLIP in memory: both towers loaded strictly, its tokenizer, and the pixels it expects."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from transformers import CLIPModel

from t2i.errors import UserError

# Missing tensors are reported below, by name; the rest of what is said while loading cannot be acted upon.
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def load_clip(folder: Path) -> CLIPModel:
    """The model in float32 and eval mode, frozen.

    Raises UserError when a tensor is missing, which would leave it random, or does not fit.
    """
    try:
        loaded: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"the CLIP model in {folder} cannot be loaded ({str(error).splitlines()[0]}): "
            "expected weights that fit its config.json; copy it again from its source"
        ) from error
    model, report = loaded
    absent = sorted(report["missing_keys"])
    if absent:
        raise UserError(
            f"{folder} lacks {len(absent)} of the tensors of a CLIP model, {absent[0]} among them: "
            "expected weights saved from CLIPModel with both towers"
        )
    return model.eval().requires_grad_(False)


def mean_and_std(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Per channel on [0, 1], float64 (3,) each; UserError when preprocessor_config.json is missing."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise UserError(f"{path} is missing; expected image_mean and image_std in it: copy it from the model's source")
    settings = json.loads(path.read_text(encoding="utf-8"))
    return np.array(settings["image_mean"]), np.array(settings["image_std"])
