"""Which part of a picture is kept, and at which size."""

import math
from enum import Enum
from functools import lru_cache

Box = tuple[int, int, int, int]


class Crop(Enum):
    """How a picture of any shape becomes one that a batch can hold."""

    centre = "centre"
    """The largest square in the middle."""
    random = "random"
    """The largest square, at a place that is a function of the seed and of the file's content."""
    buckets = "buckets"
    """The largest middle part in the nearest of a few aspect ratios, all with about resolution^2 pixels."""


@lru_cache
def buckets(resolution: int) -> tuple[tuple[int, int], ...]:
    """The (width, height) that pictures may have: sides from half to twice the resolution, multiples of a step
    between 8 and 64 pixels, width x height as near to resolution^2 as the step allows.

    The idea is NovelAI's aspect ratio bucketing (2022); the step is an eighth of the resolution, as a power of two.
    """
    step = 2 ** max(3, min(6, int(math.log2(resolution / 8))))
    sides = range(math.ceil(resolution / 2 / step) * step, 2 * resolution + 1, step)
    sizes = {(side, max(step, round(resolution**2 / side / step) * step)) for side in sides}
    return tuple(sorted(sizes | {(height, width) for width, height in sizes} | {(resolution, resolution)}))


def frame(width: int, height: int, resolution: int, crop: Crop, position: float) -> tuple[Box, tuple[int, int]]:
    """The part (left, top, right, bottom) of a width x height picture that is kept, and its size afterwards.

    position: where the part lies along the longer side, from 0 (left or top) to 1; 0.5 is the middle.
    """
    target = (resolution, resolution)
    if crop is Crop.buckets:
        shape = math.log(width / height)
        target = min(buckets(resolution), key=lambda size: abs(math.log(size[0] / size[1]) - shape))
    return part(width, height, target, position), target


def part(width: int, height: int, target: tuple[int, int], position: float = 0.5) -> Box:
    """The largest part (left, top, right, bottom) of a width x height picture that has the shape of `target`."""
    scale = min(width / target[0], height / target[1])
    kept = (min(width, round(scale * target[0])), min(height, round(scale * target[1])))
    left, top = math.floor((width - kept[0]) * position), math.floor((height - kept[1]) * position)
    return left, top, left + kept[0], top + kept[1]


def corner(width: int, height: int, size: tuple[int, int], position: float) -> tuple[int, int]:
    """Left and top of the part that became `size` (width, height), in pixels of the whole picture made larger or smaller
    like it.
    """
    left, top, right, bottom = part(width, height, size, position)
    return round(left * size[0] / (right - left)), round(top * size[1] / (bottom - top))
