"""The places: soft, low in detail, and paler than the objects, so that a small model can learn them."""

from collections.abc import Callable

import numpy as np

from t2i.data.sources.scenes.canvas import Canvas, Colour, box, curve, ellipse, polygon

_WHITE: Colour = (255, 255, 255)


def _cloud(canvas: Canvas, x: float, y: float, colour: Colour = _WHITE) -> None:
    canvas.fill(colour, ellipse(x, y, 0.11, 0.04), ellipse(x - 0.03, y - 0.03, 0.05), ellipse(x + 0.04, y - 0.02, 0.04))


def _split(canvas: Canvas, height: float, above: tuple[Colour, Colour], below: tuple[Colour, Colour]) -> None:
    canvas.gradient((0, above[0]), (height - 1e-6, above[1]), (height, below[0]), (1, below[1]))


def draw_meadow(canvas: Canvas, rng: np.random.Generator) -> None:
    """Grass under a blue sky, a hill, a cloud."""
    height, side = rng.uniform(0.56, 0.64), rng.uniform(0.1, 0.9)
    _split(canvas, height, ((150, 208, 245), (226, 244, 252)), ((172, 218, 122), (128, 190, 92)))
    canvas.fill((172, 218, 122), ellipse(side, height + 0.05, 0.5, 0.14))
    _cloud(canvas, rng.uniform(0.15, 0.85), 0.12)


def draw_beach(canvas: Canvas, rng: np.random.Generator) -> None:
    """Sand, a strip of sea, the sun."""
    height = rng.uniform(0.6, 0.66)
    _split(canvas, height, ((140, 212, 242), (220, 244, 250)), ((248, 230, 180), (238, 208, 150)))
    canvas.fill((84, 176, 206), box(0, height - 0.16, 1, height))
    canvas.fill((235, 248, 250), box(0, height, 1, height + 0.02))
    canvas.fill((255, 236, 130), ellipse(0.12 if rng.random() < 0.5 else 0.88, 0.12, 0.08))


def draw_street(canvas: Canvas, rng: np.random.Generator) -> None:
    """A road with a dashed line in front of pale houses."""
    height = rng.uniform(0.66, 0.7)
    _split(canvas, height, ((206, 218, 232), (226, 230, 236)), ((142, 144, 152), (122, 124, 132)))
    shift = rng.uniform(-0.05, 0.05)
    for left, top, tone in ((-0.1, 0.22, 184), (0.2, 0.34, 196), (0.46, 0.16, 188), (0.76, 0.3, 180)):
        canvas.fill((tone, tone - 4, tone + 8), box(left + shift, top, left + shift + 0.27, height))
        for row in (0.07, 0.19):
            canvas.fill(
                (232, 234, 226),
                *(box(left + shift + x, top + row, left + shift + x + 0.06, top + row + 0.06) for x in (0.05, 0.16)),
            )
    canvas.fill((200, 200, 204), box(0, height - 0.03, 1, height + 0.02))
    canvas.fill((240, 236, 220), *(box(x + shift, 0.86, x + shift + 0.16, 0.885) for x in (-0.05, 0.25, 0.55, 0.85)))


def draw_night(canvas: Canvas, rng: np.random.Generator) -> None:
    """Stars and a moon over dark hills."""
    canvas.gradient((0, (22, 26, 72)), (1, (66, 74, 140)))
    for _ in range(9):
        canvas.fill((245, 244, 215), ellipse(rng.uniform(0.03, 0.97), rng.uniform(0.03, 0.62), 0.011))
    x = 0.14 if rng.random() < 0.5 else 0.86
    canvas.fill((250, 242, 190), ellipse(x, 0.14, 0.09))
    canvas.fill((26, 31, 78), ellipse(x + 0.04, 0.12, 0.075))
    side = rng.uniform(0.2, 0.8)
    canvas.fill((34, 44, 84), ellipse(side, 1.0, 0.8, 0.22))


def draw_snow(canvas: Canvas, rng: np.random.Generator) -> None:
    """White ground, a fir at each side, a few flakes."""
    height = rng.uniform(0.58, 0.66)
    _split(canvas, height, ((176, 204, 234), (222, 234, 246)), ((250, 252, 255), (228, 236, 246)))
    for x in (0.08, 0.92):
        for step in range(3):
            top, half = height - 0.34 + 0.1 * step, 0.06 + 0.025 * step
            canvas.fill((128, 168, 160), polygon((x, top), (x + half, top + 0.15), (x - half, top + 0.15)))
    for _ in range(7):
        canvas.fill(_WHITE, ellipse(rng.uniform(0, 1), rng.uniform(0, height), 0.014))


def draw_table(canvas: Canvas, rng: np.random.Generator) -> None:
    """A wooden table top in front of a cream wall with a row of tiles."""
    height = rng.uniform(0.6, 0.68)
    _split(canvas, height, ((252, 243, 222), (246, 232, 204)), ((216, 168, 116), (190, 138, 90)))
    for x in np.arange(0, 1.2, 0.2):
        canvas.fill((226, 214, 190), box(x - 0.006, 0, x + 0.006, height))
    for y in (height - 0.24, height - 0.48):
        canvas.fill((226, 214, 190), box(0, y - 0.006, 1, y + 0.006))
    canvas.fill((166, 116, 74), box(0, height, 1, height + 0.018), box(0, 0.84, 1, 0.85))


def draw_bedroom(canvas: Canvas, rng: np.random.Generator) -> None:
    """A lilac wall with a window, a wooden floor, a round rug."""
    height, x = rng.uniform(0.66, 0.72), 0.2 if rng.random() < 0.5 else 0.8
    _split(canvas, height, ((222, 206, 236), (212, 196, 228)), ((208, 172, 142), (190, 152, 122)))
    canvas.fill(_WHITE, box(x - 0.15, 0.07, x + 0.15, 0.4), box(0, height - 0.02, 1, height))
    canvas.fill((190, 226, 246), box(x - 0.125, 0.095, x - 0.012, 0.375), box(x + 0.012, 0.095, x + 0.125, 0.375))
    canvas.fill(
        (240, 176, 190),
        *(curve((x + s * 0.2, 0.05), (x + s * 0.1, 0.06), (x + s * 0.16, 0.44), (x + s * 0.21, 0.44)) for s in (-1, 1)),
    )
    canvas.fill((240, 190, 202), ellipse(0.5, 0.88, 0.42, 0.09))


def draw_sunset(canvas: Canvas, rng: np.random.Generator) -> None:
    """A low sun in a sky from violet to orange, dark hills."""
    height, x = rng.uniform(0.62, 0.7), rng.uniform(0.3, 0.7)
    _split(canvas, height, ((142, 96, 164), (255, 186, 128)), ((122, 86, 128), (88, 62, 104)))
    canvas.fill((255, 226, 140), ellipse(x, height - 0.06, 0.15))
    for step in (0.2, 0.3):
        canvas.fill((230, 150, 150), ellipse(x + step - 0.4, step, 0.2, 0.018))
    canvas.fill((122, 86, 128), box(0, height, 1, height + 0.15))
    canvas.fill((122, 86, 128), ellipse(0.15, height + 0.06, 0.4, 0.1), ellipse(0.9, height + 0.06, 0.34, 0.12))


BACKGROUNDS: dict[str, Callable[[Canvas, np.random.Generator], None]] = {
    "meadow": draw_meadow,
    "beach": draw_beach,
    "street": draw_street,
    "night": draw_night,
    "snow": draw_snow,
    "table": draw_table,
    "bedroom": draw_bedroom,
    "sunset": draw_sunset,
}
