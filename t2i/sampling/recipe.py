"""What a picture was made from, inside the picture and beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from t2i.errors import UserError
from t2i.store import write_json

KEY = "t2i"
"""Of the PNG's text chunk."""
NEEDED = ("prompt", "seed", "model", "weights", "scheduler", "cfg", "resolution", "precision", "batch", "pixels")


def digest(pixels: np.ndarray) -> str:
    """sha256 of the pixels, uint8 (H, W, 3), whatever the file's compression."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def write_picture(path: Path, pixels: np.ndarray, recipe: dict[str, Any]) -> None:
    """A PNG with its recipe inside, whole or not at all, and the same recipe as JSON beside it."""
    recipe = {**recipe, "pixels": digest(pixels)}
    information = PngInfo()
    information.add_text(KEY, json.dumps(recipe))
    temporary = path.with_name(f".{path.name}")
    Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=information)
    write_json(path.with_suffix(".json"), recipe)
    temporary.rename(path)  # last: a picture that is there is complete


def is_whole(path: Path) -> bool:
    """Whether a PNG that t2i made has the pixels that its recipe tells."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return digest(np.asarray(image.convert("RGB"))) == read_recipe(path)["pixels"]
    except (UserError, OSError, ValueError, SyntaxError):  # a broken checksum is a SyntaxError to Pillow
        return False


def read_recipe(path: Path) -> dict[str, Any]:
    """The recipe in a PNG that t2i made, or in the JSON beside it. Raises UserError when there is none."""
    try:
        if path.suffix == ".json":
            text = path.read_text(encoding="utf-8")
        else:
            with Image.open(path, formats=["PNG"]) as image:
                text = str(image.info.get(KEY, ""))
        recipe = json.loads(text)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError):  # a broken PNG is a SyntaxError to Pillow
        recipe = None
    missing = [name for name in NEEDED if name not in recipe] if isinstance(recipe, dict) else list(NEEDED)
    if missing or not isinstance(recipe, dict):
        raise UserError(
            f"{path} holds no recipe ({missing[0]} is missing); give a PNG made by t2i, or the JSON beside it"
        )
    return recipe
