"""The things indoors: one function draws one thing, in its main colour, in the frame that the canvas has set."""

import numpy as np

from t2i.data.sources.scenes.canvas import Canvas, Colour, box, curve, ellipse, mirrored, polygon, shade, tube, turned

_DARK: Colour = (44, 42, 50)
_WHITE: Colour = (255, 255, 255)
_STEEL: Colour = (200, 206, 216)
_PAPER: Colour = (252, 248, 236)


def draw_book(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A thick closed book, pages showing at the right and below."""
    edge = shade(colour, -0.62)
    canvas.body(
        shade(colour, -0.2), polygon((-0.72, 0.7), (-0.5, 0.92), (0.84, 0.92), (0.84, -0.68), (0.6, -0.9)), edge=edge
    )
    canvas.fill(_PAPER, polygon((-0.62, 0.66), (-0.46, 0.82), (0.76, 0.82), (0.76, -0.66), (0.58, -0.86)))
    for shift in (0.06, 0.12):
        canvas.line(
            (170, 160, 145),
            0.025,
            polygon((-0.6 + shift, 0.66 + shift), (0.58 + shift, 0.66 + shift), (0.58 + shift, -0.84 + shift)),
        )
    canvas.body(colour, box(-0.76, -0.92, 0.58, 0.66, 0.05))
    canvas.fill(shade(colour, -0.35), box(-0.74, -0.9, -0.54, 0.64))
    canvas.fill(_PAPER, box(-0.32, -0.6, 0.4, -0.1, 0.05))
    for y, right in ((-0.44, 0.28), (-0.26, 0.12)):
        canvas.line(shade(colour, -0.5), 0.07, polygon((-0.2, y), (right, y)))


def draw_clock(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """An alarm clock: two bells, two feet, a white face."""
    for side in (-1, 1):
        canvas.body(shade(colour, -0.3), tube(0.16, (side * 0.4, 0.7), (side * 0.6, 0.94)))
        canvas.body(
            colour,
            turned(curve((-0.32, 0), (-0.24, -0.24), (0, -0.34), (0.24, -0.24), (0.32, 0)), side * 38)
            + (side * 0.48, -0.6),
        )
    canvas.line(_DARK, 0.1, polygon((0, -0.6), (0, -0.92)))
    canvas.body(colour, ellipse(0, 0.12, 0.78))
    canvas.body(_PAPER, ellipse(0, 0.12, 0.52), edge=shade(colour, -0.55))
    for tick in range(12):
        mark = turned(polygon((0, -0.46), (0, -0.38)), tick * 30) + (0, 0.12)
        canvas.line(_DARK, 0.05, mark)
    hour, minute = float(rng.integers(12)), float(rng.integers(12))
    canvas.line(_DARK, 0.11, turned(polygon((0, 0), (0, -0.25)), hour * 30) + (0, 0.12))
    canvas.line(_DARK, 0.08, turned(polygon((0, 0), (0, -0.38)), minute * 30) + (0, 0.12))
    canvas.fill((210, 50, 50), ellipse(0, 0.12, 0.07))


def draw_vase(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A bellied vase with three flowers."""
    petals: tuple[Colour, ...] = ((250, 130, 160), (255, 215, 80), (255, 255, 255))
    for step, (x, y) in enumerate(((-0.5, -0.56), (0.5, -0.56), (0.0, -0.72))):
        x += rng.uniform(-0.05, 0.05)
        canvas.line((60, 130, 60), 0.08, curve((0, 0.0), (x * 0.5, -0.25), (x, y), closed=False))
        bloom = [ellipse(x + 0.15 * np.cos(a), y + 0.15 * np.sin(a), 0.12) for a in np.arange(5) * 1.2566]
        canvas.body(petals[step], *bloom, edge=shade(petals[step], -0.45))
        canvas.fill((230, 150, 40), ellipse(x, y, 0.1))
    canvas.fill((80, 160, 75), ellipse(-0.34, -0.2, 0.18, 0.08, 35), ellipse(0.34, -0.2, 0.18, 0.08, -35))
    half = ((0.0, -0.1), (0.3, -0.1), (0.2, 0.12), (0.5, 0.42), (0.5, 0.66), (0.26, 0.96))
    outline = [*half, *((-x, y) for x, y in half[:0:-1])]
    canvas.body(colour, curve(*outline))
    canvas.fill(shade(colour, 0.6), tube(0.1, (-0.48, 0.5), (0, 0.58), (0.48, 0.5)))
    canvas.fill(shade(colour, -0.35), ellipse(0, -0.08, 0.26, 0.05))


def draw_scissors(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """Open, blades up, the two handles in the main colour."""
    opening = float(rng.uniform(15, 20))
    pivot = (0, 0.02)
    for side in (-1, 1):
        blade = polygon((-0.11, 0.1), (-0.11, -0.5), (0.02, -1.02), (0.11, -0.5), (0.11, 0.1))
        canvas.body(_STEEL, turned(blade if side > 0 else mirrored(blade), side * opening) + pivot, edge=_DARK)
    for side in (-1, 1):
        shaft = turned(polygon((0, 0.0), (0, 0.4)), side * opening) + pivot
        ring = turned(ellipse(-side * 0.12, 0.62, 0.25, 0.32), side * opening) + pivot
        for edge, width in ((shade(colour, -0.62), 0.27), (colour, 0.18)):
            canvas.line(edge, width, shaft)
            canvas.line(edge, width, ring, closed=True)
    canvas.body((240, 242, 246), ellipse(*pivot, 0.09), edge=_DARK)


def draw_teddy_bear(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """Sitting, seen from the front, with round ears, foot pads and a bow tie."""
    light = shade(colour, 0.62)
    arm = tube(0.3, (0.36, 0.16), (0.68, 0.36 + rng.uniform(-0.12, 0.08)))
    canvas.body(colour, ellipse(0, 0.38, 0.48, 0.5), arm, mirrored(arm))
    canvas.fill(light, ellipse(0, 0.44, 0.28, 0.3))
    for side in (-1, 1):
        canvas.body(colour, ellipse(side * 0.48, 0.76, 0.27, 0.24))
        canvas.fill(light, ellipse(side * 0.5, 0.77, 0.15, 0.13))
    canvas.body(colour, ellipse(0, -0.38, 0.54, 0.48), ellipse(-0.46, -0.76, 0.22), ellipse(0.46, -0.76, 0.22))
    canvas.fill(light, ellipse(-0.46, -0.76, 0.11), ellipse(0.46, -0.76, 0.11), ellipse(0, -0.22, 0.27, 0.21))
    canvas.fill(_DARK, ellipse(-0.22, -0.46, 0.07), ellipse(0.22, -0.46, 0.07), ellipse(0, -0.3, 0.11, 0.075))
    canvas.line(_DARK, 0.045, curve((-0.12, -0.14), (0, -0.1), (0.12, -0.14), closed=False))
    canvas.line(_DARK, 0.045, polygon((0, -0.28), (0, -0.12)))
    canvas.body((210, 60, 80), polygon((0, 0.1), (-0.22, 0.0), (-0.22, 0.24), (0, 0.14), (0.22, 0.24), (0.22, 0.0)))


def draw_hair_drier(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """From the side: round motor, nozzle, handle below, and the stream of air."""
    sway = rng.uniform(-0.04, 0.04)
    for y in (-0.62, -0.38, -0.14):
        canvas.line(
            (150, 205, 235), 0.07, curve((0.66, y), (0.76, y - 0.06 + sway), (0.88, y + 0.05), (0.99, y), closed=False)
        )
    canvas.line(_DARK, 0.09, curve((-0.32, 0.8), (-0.3, 0.96), (-0.6, 0.96), (-0.9, 0.84), closed=False))
    canvas.body(
        shade(colour, -0.22), turned(box(-0.17, 0, 0.17, 0.9, 0.1), 8) + (-0.2, -0.1), edge=shade(colour, -0.62)
    )
    canvas.body(colour, ellipse(-0.36, -0.38, 0.5), polygon((-0.36, -0.88), (0.36, -0.66), (0.36, -0.1), (-0.36, 0.12)))
    canvas.body(_DARK, polygon((0.34, -0.74), (0.58, -0.78), (0.58, 0.02), (0.34, -0.02)))
    canvas.fill(shade(colour, -0.5), ellipse(-0.4, -0.38, 0.28))
    canvas.fill(shade(colour, 0.5), ellipse(-0.4, -0.38, 0.2))
    canvas.fill((240, 70, 70), ellipse(-0.26, 0.3, 0.07, 0.1))
