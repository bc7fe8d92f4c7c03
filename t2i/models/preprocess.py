"""From uint8 images to the pixels a network sees, by a named and deterministic policy."""

import numpy as np
from PIL import Image

PILLOW_BICUBIC = "pillow_bicubic_antialias_shortest_edge_center_crop"
"""Pillow's bicubic with its antialias, short edge to the network's size, centre crop: CLIP's own policy."""


def pillow_bicubic(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 (N, H, W, 3) -> uint8 (N, size, size, 3); each image by itself, so batches do not matter."""
    return np.stack([_resize(image, size) for image in images])


def normalise(images: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3) -> float64 (N, 3, H, W): (x / 255 - mean) / std per channel."""
    return np.moveaxis((images / 255.0 - mean) / std, -1, 1)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    short = min(height, width)
    # The long edge is rounded down and the crop's corner too, as CLIPImageProcessor does.
    new_width, new_height = size * width // short, size * height // short
    left, top = (new_width - size) // 2, (new_height - size) // 2
    resized = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BICUBIC)
    return np.asarray(resized)[top : top + size, left : left + size]
