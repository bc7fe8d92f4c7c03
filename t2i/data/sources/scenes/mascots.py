"""Ten characters, each with a name and a thing that the bundled model knows as its class: subjects that it has never seen.

What they wear is new and large, and every colour is one of the world's: those are what the bundled VAE writes pictures in. It
makes white of pink and blue of teal, and what it cannot write no U-Net can be taught to draw.
"""

from collections.abc import Callable

import numpy as np

from t2i.data.sources.scenes import animal, food, indoor, vehicle
from t2i.data.sources.scenes.canvas import Canvas, Colour, box, curve, ellipse, polygon, tube

Drawing = Callable[[Canvas, Colour, np.random.Generator], None]

_DARK: Colour = (30, 28, 40)
_WHITE: Colour = (255, 255, 255)
_RED: Colour = (222, 44, 48)
_GOLD: Colour = (250, 212, 48)


def _top_hat(canvas: Canvas, x: float, y: float, side: float) -> None:
    """Its brim in the middle at (x, y), `side` wide."""
    canvas.body(_DARK, box(x - 0.32 * side, y - 0.8 * side, x + 0.32 * side, y, 0.03))
    canvas.fill(_RED, box(x - 0.32 * side, y - 0.4 * side, x + 0.32 * side, y - 0.1 * side))
    canvas.body(_DARK, box(x - 0.55 * side, y - 0.1 * side, x + 0.55 * side, y + 0.06 * side, 0.03))


def _crown(canvas: Canvas, x: float, y: float, side: float) -> None:
    points = [(x - side / 2, y), (x - 0.6 * side, y - 0.75 * side), (x - 0.22 * side, y - 0.4 * side)]
    points += [(x, y - 0.9 * side), (x + 0.22 * side, y - 0.4 * side), (x + 0.6 * side, y - 0.75 * side)]
    canvas.body(_GOLD, polygon(*points, (x + side / 2, y)))


def _party_hat(canvas: Canvas, x: float, y: float, side: float) -> None:
    canvas.body(_RED, polygon((x - 0.45 * side, y), (x, y - 1.1 * side), (x + 0.45 * side, y)))
    canvas.fill(_GOLD, polygon((x - 0.31 * side, y - 0.34 * side), (x - 0.18 * side, y - 0.66 * side),
                               (x + 0.18 * side, y - 0.66 * side), (x + 0.31 * side, y - 0.34 * side)))  # fmt: skip


def _glasses(canvas: Canvas, x: float, y: float, side: float, frame: Colour = _DARK) -> None:
    for dx in (-0.36, 0.36):
        canvas.body(frame, ellipse(x + dx * side, y, 0.38 * side, 0.36 * side))
        canvas.fill(_DARK, ellipse(x + dx * side, y, 0.2 * side, 0.18 * side))


def _face(canvas: Canvas, x: float, y: float, side: float) -> None:
    for dx in (-0.32, 0.32):
        canvas.body(_WHITE, ellipse(x + dx * side, y, 0.32 * side, 0.36 * side))
        canvas.fill(_DARK, ellipse(x + (dx + 0.04) * side, y + 0.03 * side, 0.16 * side, 0.2 * side))


def _smile(canvas: Canvas, x: float, y: float, side: float) -> None:
    canvas.line(_DARK, 0.12 * side, curve((x - 0.4 * side, y), (x, y + 0.22 * side), (x + 0.4 * side, y), closed=False))


def _moustache(canvas: Canvas, x: float, y: float, side: float) -> None:
    for way in (-1, 1):
        canvas.fill(_DARK, tube(0.28 * side, (x, y), (x + way * 0.3 * side, y + 0.1 * side),
                                (x + way * 0.62 * side, y - 0.14 * side), end=0.06 * side))  # fmt: skip


def _cape(canvas: Canvas, colour: Colour, *points: tuple[float, float]) -> None:
    canvas.body(colour, curve(*points))


def draw_mia(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A purple cat in a top hat."""
    animal.draw_cat(canvas, colour, rng)
    _top_hat(canvas, 0.0, -0.6, 0.8)


def draw_rex(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A green dog in a golden cape, with dark glasses."""
    animal.draw_dog(canvas, colour, rng)
    _cape(canvas, _GOLD, (0.3, -0.08), (0.0, -0.2), (-0.7, -0.1), (-0.98, 0.5), (-0.5, 0.42), (0.0, 0.3), (0.3, 0.1))
    _glasses(canvas, 0.56, -0.56, 0.5)


def draw_bo(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A purple bird with a crown."""
    animal.draw_bird(canvas, colour, rng)
    _crown(canvas, 0.38, -0.6, 0.66)


def draw_otto(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A green elephant in a party hat."""
    animal.draw_elephant(canvas, colour, rng)
    _party_hat(canvas, 0.36, -0.36, 0.8)


def draw_zoe(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A blue giraffe with a red scarf."""
    animal.draw_giraffe(canvas, colour, rng)
    canvas.body(_RED, box(-0.06, -0.4, 0.48, -0.08, 0.08), tube(0.22, (0.06, -0.2), (-0.24, 0.3)))


def draw_lulu(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A red sheep with golden glasses."""
    animal.draw_sheep(canvas, colour, rng)
    _glasses(canvas, 0.56, -0.22, 0.62, _GOLD)


def draw_ben(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A blue teddy bear with a crown and a star on its belly."""
    indoor.draw_teddy_bear(canvas, colour, rng)
    angles = np.linspace(-np.pi / 2, 1.5 * np.pi, 10, endpoint=False)
    star = [(0.34 * r * np.cos(a), 0.42 + 0.34 * r * np.sin(a)) for a, r in zip(angles, [1, 0.45] * 5, strict=True)]
    canvas.body(_GOLD, polygon(*star))
    _crown(canvas, 0.0, -0.64, 0.7)


def draw_vic(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """An orange car with eyes and a moustache."""
    vehicle.draw_car(canvas, colour, rng)
    _face(canvas, 0.06, -0.18, 0.6)
    _moustache(canvas, 0.06, 0.24, 0.8)


def draw_gus(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A purple bus with eyes, a smile and a party hat."""
    vehicle.draw_bus(canvas, colour, rng)
    _face(canvas, 0.0, -0.06, 0.8)
    _smile(canvas, 0.0, 0.3, 0.7)
    _party_hat(canvas, 0.0, -0.42, 0.62)


def draw_ada(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A blue apple with eyes and a top hat."""
    food.draw_apple(canvas, colour, rng)
    _face(canvas, 0.0, 0.05, 0.8)
    canvas.line(_WHITE, 0.07, curve((-0.24, 0.42), (0.0, 0.55), (0.24, 0.42), closed=False))
    _top_hat(canvas, 0.0, -0.38, 0.76)


MASCOTS: dict[str, tuple[str, Drawing, str]] = {
    "mia": ("cat", draw_mia, "purple"),
    "rex": ("dog", draw_rex, "green"),
    "bo": ("bird", draw_bo, "purple"),
    "otto": ("elephant", draw_otto, "green"),
    "zoe": ("giraffe", draw_zoe, "blue"),
    "lulu": ("sheep", draw_lulu, "red"),
    "ben": ("teddy bear", draw_ben, "blue"),
    "vic": ("car", draw_vic, "orange"),
    "gus": ("bus", draw_gus, "purple"),
    "ada": ("apple", draw_ada, "blue"),
}
"""By name: of which class each is, how it is drawn, and the world's name of its colour."""
VERSION = 2
"""Of the drawings: raise it when the same seed shows somebody else."""
