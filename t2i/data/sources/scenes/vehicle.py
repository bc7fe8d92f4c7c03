"""The vehicles: one function draws one vehicle, in its main colour, in the frame that the canvas has set."""

import numpy as np

from t2i.data.sources.scenes.canvas import Canvas, Colour, box, curve, ellipse, polygon, shade, tube

_DARK: Colour = (44, 44, 52)
_STEEL: Colour = (205, 210, 218)
_GLASS: Colour = (190, 230, 248)
_WHITE: Colour = (255, 255, 255)


def _wheel(canvas: Canvas, x: float, y: float, radius: float) -> None:
    canvas.body(_DARK, ellipse(x, y, radius), edge=(20, 20, 24))
    canvas.fill(_STEEL, ellipse(x, y, 0.5 * radius))


def draw_car(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A small round car from the side."""
    canvas.body(
        colour,
        curve((-0.62, 0.05), (-0.42, -0.4), (-0.1, -0.52), (0.25, -0.44), (0.55, 0.02), (0.2, 0.2), (-0.4, 0.2)),
        box(-0.98, -0.06, 0.98, 0.42, 0.2),
    )
    canvas.fill(_GLASS, polygon((-0.46, -0.04), (-0.33, -0.36), (-0.1, -0.4), (-0.1, -0.04)))
    canvas.fill(_GLASS, polygon((0.0, -0.04), (0.0, -0.4), (0.2, -0.35), (0.42, -0.04)))
    canvas.line(shade(colour, -0.4), 0.05, polygon((-0.05, 0.0), (-0.05, 0.36)))
    canvas.fill((255, 240, 150), ellipse(0.88, 0.1, 0.09, 0.1))
    canvas.fill((200, 40, 40), box(-0.98, 0.04, -0.88, 0.16))
    canvas.fill(shade(colour, -0.45), box(0.05, 0.08, 0.18, 0.13))
    for x in (-0.54, 0.54):
        _wheel(canvas, x, 0.42, 0.23)


def draw_bus(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A tall city bus from the side: a row of windows, a door, two wheels."""
    canvas.body(colour, box(-0.98, -0.68, 0.98, 0.56, 0.14))
    for left in (-0.86, -0.5, -0.14, 0.22):
        canvas.fill(_GLASS, box(left, -0.48, left + 0.28, -0.06, 0.03))
    canvas.fill(_GLASS, box(0.58, -0.48, 0.74, 0.46, 0.02), box(0.8, -0.48, 0.97, 0.06))
    canvas.line(shade(colour, -0.5), 0.04, polygon((0.66, -0.48), (0.66, 0.46)))
    canvas.fill(shade(colour, 0.6), box(-0.96, 0.08, 0.5, 0.2))
    canvas.fill((255, 240, 150), box(0.88, 0.3, 0.98, 0.42))
    for x in (-0.55, 0.34):
        _wheel(canvas, x, 0.58, 0.21)


def draw_train(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A steam locomotive from the side with puffs of smoke."""
    drift = rng.uniform(-0.05, 0.08)
    canvas.body(
        (240, 240, 245), ellipse(0.42 - drift, -0.8, 0.16), ellipse(0.16 - drift, -0.88, 0.12), edge=(160, 160, 170)
    )
    canvas.body(_DARK, polygon((0.5, -0.2), (0.52, -0.52), (0.42, -0.66), (0.8, -0.66), (0.7, -0.52), (0.72, -0.2)))
    canvas.body(
        colour, box(-0.3, -0.28, 0.88, 0.28, 0.16), box(-0.9, -0.62, -0.22, 0.4), ellipse(0.12, -0.28, 0.15, 0.17)
    )
    canvas.body(shade(colour, -0.35), box(-1.0, -0.74, -0.12, -0.6, 0.05))
    canvas.body(_GLASS, box(-0.74, -0.44, -0.38, -0.08), edge=shade(colour, -0.6))
    for x in (0.1, 0.4):
        canvas.fill((245, 205, 80), box(x, -0.27, x + 0.07, 0.27))
    canvas.body(_DARK, box(-0.92, 0.3, 0.86, 0.48), polygon((0.8, 0.3), (1.0, 0.74), (0.68, 0.74)))
    canvas.fill((255, 240, 150), ellipse(0.9, -0.04, 0.09, 0.12))
    for x, radius in ((-0.6, 0.28), (0.02, 0.24), (0.5, 0.24)):
        canvas.body(shade(colour, -0.2), ellipse(x, 0.84 - radius, radius), edge=_DARK)
        canvas.fill(_STEEL, ellipse(x, 0.84 - radius, 0.4 * radius))
    canvas.line(_STEEL, 0.06, polygon((-0.6, 0.6), (0.5, 0.64)))


def draw_boat(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A sailing boat on a strip of waves."""
    canvas.line((110, 75, 50), 0.09, polygon((0.0, 0.4), (0.0, -0.98)))
    canvas.body(colour, curve((0.06, -0.9), (0.5, -0.4), (0.78, 0.2), (0.06, 0.22), steps=6))
    canvas.body(_WHITE, polygon((-0.08, -0.74), (-0.08, 0.22), (-0.66, 0.22)), edge=shade(colour, -0.6))
    canvas.body(colour, polygon((-0.92, 0.36), (0.94, 0.36), (0.62, 0.84), (-0.6, 0.84)))
    canvas.fill(_WHITE, polygon((-0.86, 0.46), (0.87, 0.46), (0.82, 0.54), (-0.81, 0.54)))
    waves = [ellipse(x, 0.9, 0.24, 0.12) for x in (-0.76, -0.38, 0.0, 0.38, 0.76)]
    canvas.body((70, 150, 215), *waves, edge=(35, 95, 160))


def draw_airplane(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """An airliner from the side, climbing a little."""
    canvas.body(shade(colour, -0.22), polygon((0.05, -0.12), (-0.22, -0.56), (-0.02, -0.56), (0.38, -0.12)))
    canvas.body(
        colour,
        polygon((-0.6, -0.02), (-1.0, -0.66), (-0.74, -0.66), (-0.32, -0.1)),
        curve(
            (-0.98, -0.06),
            (-0.4, -0.24),
            (0.5, -0.24),
            (0.86, -0.14),
            (0.99, 0.06),
            (0.8, 0.2),
            (0.2, 0.26),
            (-0.5, 0.16),
        ),
    )
    canvas.fill(shade(colour, 0.6), curve((0.9, 0.12), (0.75, 0.2), (0.2, 0.25), (-0.5, 0.15), (0.1, 0.14)))
    for x in (-0.42, -0.2, 0.02, 0.24, 0.46):
        canvas.fill(_GLASS, ellipse(x, -0.06, 0.075, 0.08))
    canvas.fill(_GLASS, polygon((0.7, -0.16), (0.84, -0.12), (0.92, 0.0), (0.7, 0.0)))
    canvas.body(
        shade(colour, -0.15),
        polygon((0.3, 0.1), (-0.02, 0.1), (-0.5, 0.66), (-0.26, 0.66)),
        polygon((-0.62, 0.0), (-0.98, 0.26), (-0.82, 0.28), (-0.4, 0.02)),
    )
    canvas.body(_STEEL, tube(0.2, (-0.16, 0.42), (0.06, 0.42)), edge=_DARK)


def draw_bicycle(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """From the side: two big wheels, a thick frame, saddle and handlebar."""
    pedal = rng.uniform(0, np.pi)
    for x in (-0.56, 0.56):
        canvas.line(_DARK, 0.13, ellipse(x, 0.32, 0.38), closed=True)
        for angle in (0.3, 1.35, 2.4):
            reach = 0.36 * np.array([np.cos(angle), np.sin(angle)])
            canvas.line(_STEEL, 0.025, np.array([(x, 0.32) - reach, (x, 0.32) + reach]))
    frame = ((-0.56, 0.32), (-0.26, -0.26), (0.36, -0.26), (-0.02, 0.32), (-0.56, 0.32))
    paths = [polygon(*frame), polygon((-0.34, -0.46), (-0.02, 0.32)), polygon((0.56, 0.32), (0.3, -0.52))]
    for edge, width in ((shade(colour, -0.6), 0.24), (colour, 0.15)):
        for path in paths:
            canvas.line(edge, width, path)
    canvas.line(_DARK, 0.1, curve((0.12, -0.5), (0.3, -0.56), (0.48, -0.6), (0.56, -0.44), closed=False))
    canvas.body(_DARK, tube(0.14, (-0.54, -0.5), (-0.2, -0.5), end=0.07))
    reach = 0.17 * np.array([np.cos(pedal), np.sin(pedal)])
    canvas.line(_DARK, 0.07, np.array([(-0.02, 0.32) - reach, (-0.02, 0.32) + reach]))
    canvas.fill(_DARK, ellipse(-0.02, 0.32, 0.1))
