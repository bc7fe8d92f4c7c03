"""The U-Net's repeated blocks, compiled: most of its time, in a fraction of the time that compiling all of it takes."""

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

KINDS = 64
"""Shapes of one kind of block that are compiled at most: torch gives up at 8, and residual blocks of SD 1.x have 14 (widths in
and out, and sides), once for training and once without gradients."""


def compile_blocks(unet: nn.Module) -> int:
    """torch.compile every transformer block and every residual block, each shape once; returns how many blocks there are.

    Results are those of the plain network but for rounding.
    """
    torch._dynamo.config.recompile_limit = max(KINDS, torch._dynamo.config.recompile_limit)
    blocks = [module for module in unet.modules() if isinstance(module, BasicTransformerBlock | ResnetBlock2D)]
    for block in blocks:
        block.compile()
    return len(blocks)
