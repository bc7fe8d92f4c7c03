"""Anti-aliased vector drawing on Pillow: shapes are polygons in unit coordinates, drawn larger and then reduced.

Shapes are float64 arrays (n, 2). Inside a frame x and y run from -1 (left, top) to 1 (right, bottom) of the
object's own square; without a frame they run from 0 to 1 over the picture.
"""

import math
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw

Colour: TypeAlias = tuple[int, int, int]
Shape: TypeAlias = np.ndarray

_CIRCLE = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_UNIT_CIRCLE = np.stack([np.cos(_CIRCLE), np.sin(_CIRCLE)], axis=1)
_OUTLINE = 0.045
_FEW_CORNERS = 14


def shade(colour: Colour, amount: float) -> Colour:
    """`colour` mixed with white (amount 0..1) or with black (amount -1..0)."""
    target, weight = (255, amount) if amount > 0 else (0, -amount)
    red, green, blue = (round(value + (target - value) * weight) for value in colour)
    return red, green, blue


def polygon(*points: tuple[float, float]) -> Shape:
    """The polygon with these corners."""
    return np.array(points, dtype=np.float64)


def ellipse(x: float, y: float, rx: float, ry: float | None = None, angle: float = 0.0) -> Shape:
    """An ellipse around (x, y), turned clockwise by `angle` degrees; a circle when `ry` is left out."""
    points = _UNIT_CIRCLE * (rx, rx if ry is None else ry)
    return turned(points, angle) + (x, y)


def turned(shape: Shape, angle: float) -> Shape:
    """`shape` turned clockwise around (0, 0) by `angle` degrees."""
    if not angle:
        return shape
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return shape @ np.array([[cos, sin], [-sin, cos]])


def mirrored(shape: Shape) -> Shape:
    """`shape` reflected at x = 0."""
    return shape * (-1, 1)


def box(left: float, top: float, right: float, bottom: float, radius: float = 0.0) -> Shape:
    """A rectangle, with rounded corners when `radius` is positive."""
    if not radius:
        return polygon((left, top), (right, top), (right, bottom), (left, bottom))
    centres = ((right, bottom, -1, -1), (left, bottom, 1, -1), (left, top, 1, 1), (right, top, -1, 1))
    corners = []
    for quarter, (x, y, inward_x, inward_y) in enumerate(centres):
        turn = np.linspace(quarter, quarter + 1, 7) * np.pi / 2
        centre = (x + inward_x * radius, y + inward_y * radius)
        corners.append(np.stack([np.cos(turn), np.sin(turn)], axis=1) * radius + centre)
    return np.concatenate(corners)


def curve(*points: tuple[float, float], closed: bool = True, steps: int = 8) -> Shape:
    """A smooth Catmull-Rom curve through `points`."""
    knots = np.array(points, dtype=np.float64)
    if closed:
        before, start, end, after = np.roll(knots, 1, 0), knots, np.roll(knots, -1, 0), np.roll(knots, -2, 0)
    else:
        padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
        before, start, end, after = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = (np.arange(steps) / steps)[None, :, None]
    before, start, end, after = (part[:, None, :] for part in (before, start, end, after))
    smooth = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    smooth = smooth.reshape(-1, 2)
    return smooth if closed else np.concatenate([smooth, knots[-1:]])


def tube(width: float, *points: tuple[float, float], end: float | None = None) -> Shape:
    """A smooth band through `points`, `width` wide (tapering to `end`), with round ends: limbs, tails, trunks."""
    path = curve(*points, closed=False) if len(points) > 2 else np.array(points, dtype=np.float64)
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    half = np.linspace(width, width if end is None else end, len(path))[:, None] / 2
    cap = np.linspace(np.pi / 2, -np.pi / 2, 9)[1:-1, None]
    tip = path[-1] + half[-1] * (np.cos(cap) * along[-1] + np.sin(cap) * across[-1])
    root = path[0] + half[0] * (-np.cos(cap) * along[0] - np.sin(cap) * across[0])
    return np.concatenate([path + across * half, tip, (path - across * half)[::-1], root])


def _grown(flat: list[float], margin: float) -> list[float]:
    """A smooth polygon (x, y, x, y, ...) moved outwards by `margin`; clean where many short wide lines are ragged."""
    points = np.array(flat).reshape(-1, 2)
    after, before = np.roll(points, -1, 0), np.roll(points, 1, 0)
    along = after - before
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    area = float(np.sum(points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]))
    outwards = np.stack([along[:, 1], -along[:, 0]], axis=1) * math.copysign(margin, area)
    grown: list[float] = (points + outwards).ravel().tolist()
    return grown


class Canvas:
    """A picture of `size` x `size` pixels that is drawn enlarged and reduced once at the end."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.enlarged = 4 if size <= 128 else 3 if size <= 256 else 2
        self.pixels = size * self.enlarged
        self.image = Image.new("RGB", (self.pixels, self.pixels))
        self._pen = ImageDraw.Draw(self.image)
        self.picture_frame()

    def picture_frame(self) -> None:
        """Coordinates from here on: 0..1 over the whole picture."""
        self._scale, self._offset = np.array([self.pixels, self.pixels], dtype=np.float64), np.zeros(2)
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)

    def frame(self, x: float, y: float, size: float, flip: bool) -> None:
        """Coordinates from here on: -1..1 over a square of side `size` around (x, y), mirrored if `flip`."""
        half = size / 2 * self.pixels
        self._scale, self._offset = np.array([-half if flip else half, half]), np.array([x, y]) * self.pixels
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)

    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in picture units (clipped to 0..1) of all that was drawn since the last frame."""
        left, top = np.clip(self._low / self.pixels, 0, 1)
        right, bottom = np.clip(self._high / self.pixels, 0, 1)
        return float(left), float(top), float(right), float(bottom)

    def _placed(self, shape: Shape) -> list[float]:
        points = shape * self._scale + self._offset
        self._low = np.minimum(self._low, points.min(axis=0))
        self._high = np.maximum(self._high, points.max(axis=0))
        flat: list[float] = points.ravel().tolist()
        return flat

    def _width(self, width: float) -> int:
        return max(1, round(width * float(self._scale[1])))

    def gradient(self, *stops: tuple[float, Colour]) -> None:
        """Paint the whole picture in rows that go from colour to colour at the heights 0..1 of `stops`."""
        rows = (np.arange(self.pixels) + 0.5) / self.pixels
        heights = [height for height, _ in stops]
        channels = [np.interp(rows, heights, [colour[channel] for _, colour in stops]) for channel in range(3)]
        column = np.stack(channels, axis=1).round().astype(np.uint8)[:, None, :]
        self.image.paste(Image.fromarray(column).resize((self.pixels, self.pixels), Image.Resampling.NEAREST))

    def fill(self, colour: Colour, *shapes: Shape) -> None:
        """Fill the shapes, without an outline."""
        for shape in shapes:
            self._pen.polygon(self._placed(shape), fill=colour)

    def body(self, colour: Colour, *shapes: Shape, edge: Colour | None = None) -> None:
        """Fill the union of the shapes and draw one outline around it, darker than `colour` or in `edge`."""
        outline = edge or shade(colour, -0.62)
        placed = [self._placed(shape) for shape in shapes]
        width = max(self._width(2 * _OUTLINE), round(0.024 * self.pixels))
        for points in placed:
            if len(points) > 2 * _FEW_CORNERS:
                self._pen.polygon(_grown(points, width / 2), fill=outline)
            else:
                self._pen.line(points + points[:4], fill=outline, width=width, joint="curve")
        for points in placed:
            self._pen.polygon(points, fill=colour)

    def line(self, colour: Colour, width: float, shape: Shape, closed: bool = False) -> None:
        """A stroke along the shape's points; smooth shapes should be given densely, as by `curve`."""
        points = self._placed(shape)
        if closed:
            points = points + points[:4]
        self._pen.line(points, fill=colour, width=self._width(width), joint="curve")

    def finish(self) -> Image.Image:
        """The picture, RGB, `size` x `size`."""
        return self.image.reduce(self.enlarged)
