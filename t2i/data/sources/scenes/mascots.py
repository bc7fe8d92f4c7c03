"""Ten characters, each with a name and a thing that the bundled model knows as its class: subjects that it has never seen."""

from collections.abc import Callable

import numpy as np

from t2i.data.sources.scenes import animal, food, indoor, vehicle
from t2i.data.sources.scenes.canvas import Canvas, Colour, box, curve, ellipse, polygon, shade, tube

Drawing = Callable[[Canvas, Colour, np.random.Generator], None]

_DARK: Colour = (30, 28, 40)
_WHITE: Colour = (255, 255, 255)
_RED: Colour = (220, 40, 60)
_GOLD: Colour = (255, 206, 40)
_NAVY: Colour = (34, 48, 122)
_PINK: Colour = (250, 120, 190)
_TEAL: Colour = (0, 158, 150)
_LIME: Colour = (168, 216, 40)
_LILAC: Colour = (196, 152, 246)
_CYAN: Colour = (60, 206, 240)
_BLACK: Colour = (52, 50, 62)


def _top_hat(canvas: Canvas, x: float, y: float, side: float) -> None:
    """Its brim in the middle at (x, y), `side` wide."""
    canvas.body(_BLACK, box(x - 0.32 * side, y - 0.75 * side, x + 0.32 * side, y, 0.03))
    canvas.fill(_RED, box(x - 0.32 * side, y - 0.26 * side, x + 0.32 * side, y - 0.08 * side))
    canvas.body(_BLACK, box(x - 0.55 * side, y - 0.08 * side, x + 0.55 * side, y + 0.06 * side, 0.03))


def _crown(canvas: Canvas, x: float, y: float, side: float) -> None:
    points = [(x - side / 2, y), (x - 0.6 * side, y - 0.6 * side), (x - 0.22 * side, y - 0.3 * side)]
    points += [(x, y - 0.75 * side), (x + 0.22 * side, y - 0.3 * side), (x + 0.6 * side, y - 0.6 * side)]
    canvas.body(_GOLD, polygon(*points, (x + side / 2, y)))
    for dx in (-0.25, 0.0, 0.25):
        canvas.fill(_RED, ellipse(x + dx * side, y - 0.14 * side, 0.075 * side))


def _party_hat(canvas: Canvas, x: float, y: float, side: float) -> None:
    canvas.body(_RED, polygon((x - 0.4 * side, y), (x, y - 1.1 * side), (x + 0.4 * side, y)))
    canvas.fill(_GOLD, polygon((x - 0.26 * side, y - 0.38 * side), (x - 0.15 * side, y - 0.68 * side),
                               (x + 0.15 * side, y - 0.68 * side), (x + 0.26 * side, y - 0.38 * side)))  # fmt: skip
    canvas.body(_WHITE, ellipse(x, y - 1.12 * side, 0.17 * side))


def _sunglasses(canvas: Canvas, x: float, y: float, side: float, frame: Colour = _DARK) -> None:
    for dx in (-0.3, 0.3):
        canvas.fill(frame, ellipse(x + dx * side, y, 0.34 * side, 0.3 * side))
        canvas.fill(_DARK, ellipse(x + dx * side, y, 0.27 * side, 0.22 * side))
        canvas.fill(_CYAN, ellipse(x + (dx - 0.07) * side, y - 0.05 * side, 0.07 * side, 0.06 * side))
    canvas.line(frame, 0.08 * side, polygon((x - 0.7 * side, y - 0.06 * side), (x + 0.7 * side, y - 0.06 * side)))


def _face(canvas: Canvas, x: float, y: float, side: float) -> None:
    for dx in (-0.3, 0.3):
        canvas.body(_WHITE, ellipse(x + dx * side, y, 0.25 * side, 0.3 * side))
        canvas.fill(_DARK, ellipse(x + (dx + 0.05) * side, y + 0.03 * side, 0.12 * side, 0.16 * side))


def _smile(canvas: Canvas, x: float, y: float, side: float) -> None:
    canvas.line(_DARK, 0.1 * side, curve((x - 0.4 * side, y), (x, y + 0.22 * side), (x + 0.4 * side, y), closed=False))


def _moustache(canvas: Canvas, x: float, y: float, side: float) -> None:
    for way in (-1, 1):
        canvas.fill(_DARK, tube(0.24 * side, (x, y), (x + way * 0.3 * side, y + 0.1 * side),
                                (x + way * 0.62 * side, y - 0.12 * side), end=0.04 * side))  # fmt: skip


def _cape(canvas: Canvas, colour: Colour, *points: tuple[float, float]) -> None:
    canvas.body(colour, curve(*points))


def draw_mia(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A pink cat in a top hat."""
    animal.draw_cat(canvas, colour, rng)
    _top_hat(canvas, 0.0, -0.62, 0.62)


def draw_rex(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A teal dog in a golden cape, with dark glasses."""
    animal.draw_dog(canvas, colour, rng)
    _cape(canvas, _GOLD, (0.3, -0.08), (0.0, -0.2), (-0.7, -0.1), (-0.98, 0.5), (-0.5, 0.42), (0.0, 0.3), (0.3, 0.1))
    _sunglasses(canvas, 0.56, -0.56, 0.4)


def draw_bo(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A lilac bird with a crown."""
    animal.draw_bird(canvas, colour, rng)
    _crown(canvas, 0.38, -0.66, 0.5)


def draw_otto(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A lime elephant in a party hat."""
    animal.draw_elephant(canvas, colour, rng)
    _party_hat(canvas, 0.36, -0.5, 0.5)


def draw_zoe(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A cyan giraffe with a red scarf."""
    animal.draw_giraffe(canvas, colour, rng)
    canvas.body(_RED, box(-0.02, -0.3, 0.44, -0.1, 0.08), tube(0.16, (0.06, -0.16), (-0.16, 0.18)))


def draw_lulu(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A pink sheep with golden glasses."""
    animal.draw_sheep(canvas, colour, rng)
    _sunglasses(canvas, 0.56, -0.22, 0.52, _GOLD)


def draw_ben(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A teal teddy bear with a crown and a star on its belly."""
    indoor.draw_teddy_bear(canvas, colour, rng)
    angles = np.linspace(-np.pi / 2, 1.5 * np.pi, 10, endpoint=False)
    star = [(0.26 * r * np.cos(a), 0.42 + 0.26 * r * np.sin(a)) for a, r in zip(angles, [1, 0.45] * 5, strict=True)]
    canvas.body(_GOLD, polygon(*star))
    _crown(canvas, 0.0, -0.74, 0.44)


def draw_vic(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A lime car with eyes and a moustache."""
    vehicle.draw_car(canvas, colour, rng)
    _face(canvas, 0.1, -0.12, 0.5)
    _moustache(canvas, 0.12, 0.22, 0.62)


def draw_gus(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A lilac bus with eyes, a smile and a party hat."""
    vehicle.draw_bus(canvas, colour, rng)
    _face(canvas, 0.0, -0.06, 0.62)
    _smile(canvas, 0.0, 0.24, 0.6)
    _party_hat(canvas, 0.0, -0.5, 0.42)


def draw_ada(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A navy apple with eyes and a top hat."""
    food.draw_apple(canvas, colour, rng)
    _face(canvas, 0.0, 0.05, 0.6)
    canvas.line(_WHITE, 0.07, curve((-0.24, 0.42), (0.0, 0.55), (0.24, 0.42), closed=False))
    _top_hat(canvas, 0.0, -0.42, 0.6)


MASCOTS: dict[str, tuple[str, Drawing, Colour]] = {
    "mia": ("cat", draw_mia, _PINK),
    "rex": ("dog", draw_rex, _TEAL),
    "bo": ("bird", draw_bo, _LILAC),
    "otto": ("elephant", draw_otto, _LIME),
    "zoe": ("giraffe", draw_zoe, _CYAN),
    "lulu": ("sheep", draw_lulu, shade(_PINK, 0.3)),
    "ben": ("teddy bear", draw_ben, _TEAL),
    "vic": ("car", draw_vic, _LIME),
    "gus": ("bus", draw_gus, _LILAC),
    "ada": ("apple", draw_ada, _NAVY),
}
"""By name: of which class each is, how it is drawn, and in which colour."""
