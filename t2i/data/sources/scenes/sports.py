"""The sports gear: one function draws one thing, in its main colour, in the frame that the canvas has set."""

import numpy as np

from t2i.data.sources.scenes.canvas import Canvas, Colour, box, curve, ellipse, polygon, shade, tube, turned

_DARK: Colour = (44, 42, 50)
_WHITE: Colour = (255, 255, 255)
_STEEL: Colour = (195, 200, 210)


def draw_sports_ball(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A football: a dark pentagon in the middle, seams to five more at the rim."""
    turn = float(rng.uniform(0, 72))
    canvas.body(colour, ellipse(0, 0, 0.92))
    corners = [turned(polygon((0.0, -1.0)), turn + 72 * step)[0] for step in range(5)]
    for step, (x, y) in enumerate(corners):
        canvas.line(_DARK, 0.08, polygon((x * 0.3, y * 0.3), (x * 0.66, y * 0.66)))
        patch = turned(polygon((0, -0.6), (0.26, -0.72), (0.2, -0.9), (-0.2, -0.9), (-0.26, -0.72)), turn + 72 * step)
        canvas.fill(_DARK, patch)
        after = corners[(step + 1) % 5]
        mid = (x + after[0]) / 2, (y + after[1]) / 2
        canvas.line(_DARK, 0.06, np.array([patch[1], (mid[0] * 1.1, mid[1] * 1.1)]))
    canvas.fill(_DARK, np.array(corners) * 0.36)
    canvas.fill(shade(colour, 0.6), ellipse(-0.4, -0.36, 0.1, 0.17, 45))


def draw_tennis_racket(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """Held aslant: an oval head with white strings, throat and dark grip."""
    lean = 35 + float(rng.uniform(-4, 4))
    canvas.fill(shade(_WHITE, -0.08), turned(ellipse(0, -0.42, 0.44, 0.54), lean))
    for x in (-0.3, -0.15, 0.0, 0.15, 0.3):
        canvas.line((150, 156, 170), 0.03, turned(polygon((x, -0.95), (x, 0.1)), lean))
    for y in (-0.8, -0.62, -0.44, -0.26, -0.08):
        canvas.line((150, 156, 170), 0.03, turned(polygon((-0.4, y), (0.4, y)), lean))
    for edge, wide in ((shade(colour, -0.6), 0.08), (colour, 0.0)):
        canvas.line(edge, 0.15 + wide, turned(ellipse(0, -0.42, 0.46, 0.56), lean), closed=True)
        canvas.line(edge, 0.13 + wide, turned(polygon((-0.3, 0.02), (0, 0.48), (0.3, 0.02)), lean))
        canvas.line(edge, 0.16 + wide, turned(polygon((0, 0.4), (0, 0.8)), lean))
    canvas.body(_DARK, turned(box(-0.11, 0.6, 0.11, 1.14, 0.05), lean))


def draw_kite(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A diamond in two tones, with a tail of bows."""
    sway = rng.uniform(-0.1, 0.1)
    tail = curve((-0.02, 0.4), (-0.3, 0.55), (-0.1 + sway, 0.76), (-0.5, 0.9), (-0.8, 0.8), closed=False)
    canvas.line(_DARK, 0.05, tail)
    canvas.body(colour, polygon((0.16, -0.98), (0.8, -0.42), (0.0, 0.44), (-0.5, -0.42)))
    light = shade(colour, 0.55)
    canvas.fill(
        light, polygon((0.16, -0.98), (0.12, -0.42), (-0.5, -0.42)), polygon((0.12, -0.42), (0.8, -0.42), (0.0, 0.44))
    )
    canvas.line(shade(colour, -0.6), 0.05, polygon((0.16, -0.98), (0.0, 0.44)))
    canvas.line(shade(colour, -0.6), 0.05, polygon((-0.5, -0.42), (0.8, -0.42)))
    for x, y in tail[[9, 18, 27]]:
        bow = polygon((-0.14, -0.1), (0.14, 0.1), (0.14, -0.1), (-0.14, 0.1))
        canvas.body(colour, bow + (x, y))


def draw_skateboard(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """From the side, rolling: the deck bends up at both ends."""
    tilt = float(rng.uniform(-6, 6))
    deck = ((-0.92, -0.3), (-0.66, -0.06), (-0.3, 0.0), (0.3, 0.0), (0.66, -0.06), (0.92, -0.3))
    for x in (-0.5, 0.5):
        canvas.body(
            _STEEL,
            turned(polygon((x - 0.16, 0.06), (x + 0.16, 0.06), (x + 0.06, 0.34), (x - 0.06, 0.34)), tilt),
            edge=_DARK,
        )
        wheel = turned(polygon((x, 0.38)), tilt)[0]
        canvas.body((250, 245, 225), ellipse(wheel[0], wheel[1], 0.2), edge=_DARK)
        canvas.fill(_DARK, ellipse(wheel[0], wheel[1], 0.07))
    canvas.body(colour, turned(tube(0.22, *deck), tilt))
    canvas.line(_DARK, 0.07, turned(curve(*deck, closed=False) - (0, 0.11), tilt))


def draw_surfboard(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """Upright and pointed, with light stripes and a small fin."""
    lean = 10 + float(rng.uniform(-4, 4))
    outline = curve(
        (0, -1.0),
        (0.24, -0.62),
        (0.36, -0.05),
        (0.3, 0.5),
        (0.12, 0.92),
        (-0.12, 0.92),
        (-0.3, 0.5),
        (-0.36, -0.05),
        (-0.24, -0.62),
    )
    canvas.body(_DARK, turned(polygon((0.0, 0.86), (0.16, 0.66), (0.34, 0.98)), lean))
    canvas.body(colour, turned(outline, lean))
    canvas.fill(
        shade(colour, 0.72), turned(box(-0.33, -0.3, 0.33, -0.12), lean), turned(box(-0.35, 0.0, 0.35, 0.1), lean)
    )
    canvas.line(shade(colour, -0.45), 0.05, turned(polygon((0, -0.86), (0, 0.86)), lean))


def draw_baseball_bat(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """Aslant, thick end at the top right, with a white ball beside it."""
    lean = 42 + float(rng.uniform(-4, 4))
    bat = curve(
        (-0.07, 1.1), (-0.08, 0.5), (-0.2, -0.3), (-0.2, -0.95), (0, -1.14),
        (0.2, -0.95), (0.2, -0.3), (0.08, 0.5), (0.07, 1.1),
    )  # fmt: skip
    canvas.body(colour, turned(bat, lean), turned(box(-0.16, 1.04, 0.16, 1.18, 0.06), lean))
    canvas.fill(_DARK, turned(box(-0.1, 0.58, 0.1, 1.02), lean))
    canvas.line(shade(colour, 0.6), 0.08, turned(polygon((-0.1, -0.9), (-0.1, -0.3)), lean))
    canvas.body(_WHITE, ellipse(0.52, 0.56, 0.26), edge=(120, 120, 130))
    for side in (-1, 1):
        seam = curve((0.52 + side * 0.2, 0.4), (0.52 + side * 0.1, 0.56), (0.52 + side * 0.2, 0.72), closed=False)
        canvas.line((205, 50, 50), 0.05, seam)
