"""From uint8 images to the size a network sees, by named policies: the same weights give three "FIDs" with three of them.

    torch_fidelity   TensorFlow 1's bilinear, no antialias: what FID was defined with; as torch-fidelity, pytorch-fid's
                     successor and torchmetrics before 1.8 compute it
    clean            Pillow's bicubic with antialias on each channel as floating point, nothing rounded to uint8
                     (Parmar et al. 2022, arXiv:2104.11222); as clean-fid
    torch_antialias  torch's bilinear with antialias; as torchmetrics from 1.8 on
    clip             Pillow's bicubic with antialias, rounded to uint8, short edge to the size, centre crop; as
                     CLIPImageProcessor
    whole            torch's bicubic with antialias, nothing rounded, long edge to the size, black around; as HPSv2's code with
                     torchvision since 0.17

The first three squash an image that is not square, `clip` cuts it, `whole` keeps all of it. Images are resized
one by one or alike, so that a batch changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from t2i.errors import unknown

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Policy:
    """A way to resize: uint8 (N, H, W, 3) and a size to float32 (N, 3, size, size), 0 to 255."""

    apply: "Callable[[np.ndarray, int], torch.Tensor]"
    antialias: bool
    crop: str
    """`none`: squashed to a square; `center`: the middle square; `padded`: nothing is lost."""


def policy(name: str) -> Policy:
    """The policy of that name; ConfigError names the valid ones."""
    if name not in POLICIES:
        raise unknown(f"eval.resize={name} is no resize policy", name, list(POLICIES), "eval.resize=")
    return POLICIES[name]


def tensorflow_bilinear(images: "torch.Tensor", size: int) -> "torch.Tensor":
    """float32 (N, C, H, W) -> (N, C, size, size) as `tf.image.resize_bilinear` of TensorFlow 1 with align_corners=False.

    Output pixel i lies at i * H / size of the input: corners on corners at the upper left, no half-pixel centres, which
    moves the picture by half a pixel; between two neighbours the value is a + (b - a) * f, across before down, all in
    float32. The last neighbour is repeated at the edge.
    """
    import torch

    def places(length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        at = torch.arange(size, dtype=torch.float32) * torch.tensor(length / size, dtype=torch.float32)
        first = at.long()
        return first, (first + 1).clamp(max=length - 1), at - first

    top, bottom, down = places(images.shape[2])
    left, right, across = places(images.shape[3])
    start, end = images.index_select(3, left), images.index_select(3, right)
    # Rows are picked before they are joined across: the same sums, in the order that TensorFlow takes them.
    upper, lower = (
        start.index_select(2, row) + (end.index_select(2, row) - start.index_select(2, row)) * across
        for row in (top, bottom)
    )
    return upper + (lower - upper) * down[:, None]


def _torch_fidelity(images: np.ndarray, size: int) -> "torch.Tensor":
    return tensorflow_bilinear(_channels_first(images), size)


def _clean(images: np.ndarray, size: int) -> "torch.Tensor":
    import torch
    from PIL import Image

    resized = np.empty((len(images), 3, size, size), np.float32)
    for index, channel in np.ndindex(len(images), 3):
        plane = Image.fromarray(images[index, :, :, channel].astype(np.float32))
        resized[index, channel] = np.asarray(plane.resize((size, size), Image.Resampling.BICUBIC))
    return torch.from_numpy(resized).clamp_(0.0, 255.0)


def _torch_antialias(images: np.ndarray, size: int) -> "torch.Tensor":
    from torch.nn import functional as F

    return F.interpolate(
        _channels_first(images), size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )


def _clip(images: np.ndarray, size: int) -> "torch.Tensor":
    from t2i.models.preprocess import pillow_bicubic

    return _channels_first(pillow_bicubic(images, size))


def _whole(images: np.ndarray, size: int) -> "torch.Tensor":
    from torch.nn import functional as F

    height, width = images.shape[1:3]
    long = max(height, width)
    new = max(1, round(height * size / long)), max(1, round(width * size / long))
    resized = _channels_first(images)
    if long != size:
        resized = F.interpolate(resized, size=new, mode="bicubic", align_corners=False, antialias=True)
    down, across = size - new[0], size - new[1]
    return F.pad(resized, (across // 2, across - across // 2, down // 2, down - down // 2))


def _channels_first(images: np.ndarray) -> "torch.Tensor":
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1))).float()


POLICIES = {
    "torch_fidelity": Policy(_torch_fidelity, antialias=False, crop="none"),
    "clean": Policy(_clean, antialias=True, crop="none"),
    "torch_antialias": Policy(_torch_antialias, antialias=True, crop="none"),
    "clip": Policy(_clip, antialias=True, crop="center"),
    "whole": Policy(_whole, antialias=True, crop="padded"),
}
