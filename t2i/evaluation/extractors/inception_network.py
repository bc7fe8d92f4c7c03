"""The FID variant of Inception-v3: layers and names of the published `pt_inception-2015-12-05-6726825d.pth`.

Szegedy et al. 2015 (arXiv:1512.00567) as trained by Google in 2015 and used by Heusel et al. 2017 for FID. It differs
from torchvision's: 1,008 logits; average pools divide by the pixels that exist, not by the padding too; the last block
pools by maximum; pixels are scaled (x - 128) / 128. 566 tensors, 23.9 M parameters.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

SIZE = 299
"""Side of the pixels that the network was trained with."""
FEATURES = 2048
CLASSES = 1008

Pool = Literal["average", "max", "stride"]
Size = int | tuple[int, int]


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation (eps 0.001), ReLU; `size` keeps height and width unless stride 2."""

    def __init__(self, inputs: int, outputs: int, size: Size = 1, stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        padding = (height // 2, width // 2) if pad else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, H', W')."""
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Branches side by side, joined along the channels.

    Each path names the convolutions it goes through; a path that ends in several names forks there. `pool`: what the
    last branch begins with; `stride` halves height and width and has no convolution.
    """

    def __init__(self, layers: dict[str, ConvNorm], paths: Sequence[Sequence[str]], pool: Pool) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._paths, self._pool = paths, pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        joined = []
        for path in self._paths:
            out = x
            *through, last = path
            for name in through:
                out = self.get_submodule(name)(out)
            joined += [self.get_submodule(name)(out) for name in last.split("|")]
        if self._pool == "stride":
            joined.append(F.max_pool2d(x, 3, stride=2))
        else:
            joined.append(self.get_submodule("branch_pool")(pooled(x, self._pool)))
        return torch.cat(joined, 1)


def pooled(x: torch.Tensor, kind: Pool) -> torch.Tensor:
    """(N, C, H, W) -> the same shape: over 3 x 3 neighbours that exist, as TensorFlow pools."""
    if kind == "max":
        return F.max_pool2d(x, 3, stride=1, padding=1)
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _block_35(inputs: int, pool: int) -> Block:
    """35 x 35 pixels: 1x1, 5x5, twice 3x3, pool."""
    layers = {
        "branch1x1": ConvNorm(inputs, 64),
        "branch5x5_1": ConvNorm(inputs, 48),
        "branch5x5_2": ConvNorm(48, 64, 5),
        "branch3x3dbl_1": ConvNorm(inputs, 64),
        "branch3x3dbl_2": ConvNorm(64, 96, 3),
        "branch3x3dbl_3": ConvNorm(96, 96, 3),
        "branch_pool": ConvNorm(inputs, pool),
    }
    paths = [
        ["branch1x1"],
        ["branch5x5_1", "branch5x5_2"],
        ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"],
    ]
    return Block(layers, paths, "average")


def _block_35_to_17() -> Block:
    layers = {
        "branch3x3": ConvNorm(288, 384, 3, stride=2, pad=False),
        "branch3x3dbl_1": ConvNorm(288, 64),
        "branch3x3dbl_2": ConvNorm(64, 96, 3),
        "branch3x3dbl_3": ConvNorm(96, 96, 3, stride=2, pad=False),
    }
    return Block(layers, [["branch3x3"], ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"]], "stride")


def _block_17(width: int) -> Block:
    """17 x 17 pixels: 1x1, 7x7 as 1x7 and 7x1, the same twice, pool."""
    double = [f"branch7x7dbl_{number}" for number in range(1, 6)]
    layers = {
        "branch1x1": ConvNorm(768, 192),
        "branch7x7_1": ConvNorm(768, width),
        "branch7x7_2": ConvNorm(width, width, (1, 7)),
        "branch7x7_3": ConvNorm(width, 192, (7, 1)),
        double[0]: ConvNorm(768, width),
        double[1]: ConvNorm(width, width, (7, 1)),
        double[2]: ConvNorm(width, width, (1, 7)),
        double[3]: ConvNorm(width, width, (7, 1)),
        double[4]: ConvNorm(width, 192, (1, 7)),
        "branch_pool": ConvNorm(768, 192),
    }
    return Block(layers, [["branch1x1"], ["branch7x7_1", "branch7x7_2", "branch7x7_3"], double], "average")


def _block_17_to_8() -> Block:
    layers = {
        "branch3x3_1": ConvNorm(768, 192),
        "branch3x3_2": ConvNorm(192, 320, 3, stride=2, pad=False),
        "branch7x7x3_1": ConvNorm(768, 192),
        "branch7x7x3_2": ConvNorm(192, 192, (1, 7)),
        "branch7x7x3_3": ConvNorm(192, 192, (7, 1)),
        "branch7x7x3_4": ConvNorm(192, 192, 3, stride=2, pad=False),
    }
    paths = [["branch3x3_1", "branch3x3_2"], [f"branch7x7x3_{number}" for number in range(1, 5)]]
    return Block(layers, paths, "stride")


def _block_8(inputs: int, pool: Pool) -> Block:
    """8 x 8 pixels: 1x1, a fork into 1x3 and 3x1, the same behind a 3x3, pool."""
    layers = {
        "branch1x1": ConvNorm(inputs, 320),
        "branch3x3_1": ConvNorm(inputs, 384),
        "branch3x3_2a": ConvNorm(384, 384, (1, 3)),
        "branch3x3_2b": ConvNorm(384, 384, (3, 1)),
        "branch3x3dbl_1": ConvNorm(inputs, 448),
        "branch3x3dbl_2": ConvNorm(448, 384, 3),
        "branch3x3dbl_3a": ConvNorm(384, 384, (1, 3)),
        "branch3x3dbl_3b": ConvNorm(384, 384, (3, 1)),
        "branch_pool": ConvNorm(inputs, 192),
    }
    paths = [
        ["branch1x1"],
        ["branch3x3_1", "branch3x3_2a|branch3x3_2b"],
        ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a|branch3x3dbl_3b"],
    ]
    return Block(layers, paths, pool)


class InceptionV3(nn.Module):
    """Pixels float (N, 3, 299, 299), 0 to 255, to the 2,048 features of the global average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = {
            "Conv2d_1a_3x3": ConvNorm(3, 32, 3, stride=2, pad=False),
            "Conv2d_2a_3x3": ConvNorm(32, 32, 3, pad=False),
            "Conv2d_2b_3x3": ConvNorm(32, 64, 3),
            "pool_1": nn.MaxPool2d(3, stride=2),
            "Conv2d_3b_1x1": ConvNorm(64, 80),
            "Conv2d_4a_3x3": ConvNorm(80, 192, 3, pad=False),
            "pool_2": nn.MaxPool2d(3, stride=2),
            "Mixed_5b": _block_35(192, 32),
            "Mixed_5c": _block_35(256, 64),
            "Mixed_5d": _block_35(288, 64),
            "Mixed_6a": _block_35_to_17(),
            "Mixed_6b": _block_17(128),
            "Mixed_6c": _block_17(160),
            "Mixed_6d": _block_17(160),
            "Mixed_6e": _block_17(192),
            "Mixed_7a": _block_17_to_8(),
            "Mixed_7b": _block_8(1280, "average"),
            "Mixed_7c": _block_8(2048, "max"),
        }
        for name, stage in self.stages.items():
            self.add_module(name, stage)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, 299, 299) -> (N, 2048)."""
        x = (pixels - 128.0) / 128.0
        for stage in self.stages.values():
            x = stage(x)
        return x.mean(dim=(2, 3))

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """(N, 2048) -> (N, 1008) without the bias: what the Inception Score takes in torch-fidelity."""
        return features @ self.fc.weight.T
