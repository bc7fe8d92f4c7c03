"""The food: one function draws one thing to eat, in its main colour, in the frame that the canvas has set."""

import numpy as np

from t2i.data.sources.scenes.canvas import Canvas, Colour, box, curve, ellipse, polygon, shade, tube, turned

_LEAF: Colour = (70, 150, 60)
_WOOD: Colour = (110, 72, 42)
_DOUGH: Colour = (226, 170, 98)
_CREAM: Colour = (255, 250, 238)


def draw_apple(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """With a stem and one leaf."""
    lean = rng.uniform(-0.06, 0.06)
    canvas.body(
        colour,
        curve(
            (0, -0.38), (0.35, -0.55), (0.74, -0.36), (0.84, 0.12), (0.6, 0.72), (0.28, 0.94),
            (0, 0.86), (-0.28, 0.94), (-0.6, 0.72), (-0.84, 0.12), (-0.74, -0.36), (-0.35, -0.55),
        ),
    )  # fmt: skip
    canvas.fill(shade(colour, -0.35), ellipse(0, -0.38, 0.24, 0.08))
    canvas.body(_WOOD, tube(0.1, (0, -0.36), (0.02, -0.6), (0.1 + lean, -0.86)))
    canvas.body(_LEAF, curve((0.1, -0.64), (0.3, -0.92), (0.66, -0.94), (0.5, -0.64)))
    canvas.fill(shade(colour, 0.6), ellipse(-0.48, -0.1, 0.12, 0.24, 20))


def draw_banana(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """One curved banana with dark ends."""
    canvas.body((92, 70, 44), tube(0.2, (0.66, -0.62), (0.74, -0.9)), ellipse(-0.9, 0.1, 0.1))
    canvas.body(
        colour,
        curve(
            (0.56, -0.66), (0.8, -0.66), (0.9, -0.1), (0.66, 0.42), (0.2, 0.72), (-0.36, 0.7),
            (-0.84, 0.36), (-0.92, 0.1), (-0.78, 0.02), (-0.3, 0.22), (0.14, 0.14), (0.46, -0.2),
        ),
    )  # fmt: skip
    ridge = curve((0.72, -0.5), (0.7, -0.02), (0.44, 0.34), (0.0, 0.5), (-0.5, 0.4), (-0.8, 0.16), closed=False)
    canvas.line(shade(colour, -0.3), 0.07, ridge)
    canvas.line(shade(colour, 0.55), 0.08, curve((0.58, -0.3), (0.4, 0.06), (0.08, 0.28), (-0.3, 0.34), closed=False))


def draw_pizza(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """One slice, tip down: cheese in the main colour, salami, leaves of basil."""
    canvas.body(
        colour,
        polygon((-0.8, -0.5), (0.8, -0.5), (0.08, 0.94), (-0.08, 0.94)),
        tube(0.16, (-0.36, 0.0), (-0.38, 0.42)),
        tube(0.15, (0.3, 0.3), (0.3, 0.6)),
    )
    canvas.body(_DOUGH, tube(0.34, (-0.8, -0.52), (-0.4, -0.68), (0.4, -0.68), (0.8, -0.52)))
    for x, y, radius in ((-0.34, -0.2, 0.2), (0.3, -0.1, 0.2), (0.0, 0.38, 0.17)):
        canvas.body((190, 52, 44), ellipse(x + rng.uniform(-0.04, 0.04), y, radius))
    for x, y in ((0.0, -0.3), (-0.08, 0.1), (0.18, 0.24), (-0.02, 0.68)):
        canvas.fill((50, 125, 50), ellipse(x, y, 0.085, 0.05, 35))


def draw_cake(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A birthday cake on a plate: two layers, dripping icing, three candles."""
    for x in (-0.36, 0.0, 0.36):
        flicker = rng.uniform(-0.03, 0.03)
        canvas.body(
            (255, 205, 60),
            curve((x, -0.66), (x - 0.08, -0.78), (x + flicker, -0.98), (x + 0.08, -0.78)),
            edge=(225, 110, 30),
        )
        canvas.body((120, 200, 235), box(x - 0.06, -0.64, x + 0.06, -0.24), edge=(50, 100, 140))
    canvas.body((232, 236, 242), ellipse(0, 0.78, 0.98, 0.16), edge=(130, 136, 150))
    canvas.body(colour, box(-0.82, 0.2, 0.82, 0.78, 0.08), box(-0.62, -0.26, 0.62, 0.3, 0.06))
    for top, half, count in ((-0.26, 0.62, 5), (0.2, 0.82, 7)):
        step = 2 * half / count
        drips = [
            tube(
                step * 0.8, (-half + step * (i + 0.5), top + 0.02), (-half + step * (i + 0.5), top + (0.1, 0.2)[i % 2])
            )
            for i in range(count)
        ]
        canvas.body(
            _CREAM, box(-half - 0.03, top - 0.05, half + 0.03, top + 0.06, 0.05), *drips, edge=shade(colour, -0.5)
        )
    canvas.line(shade(colour, -0.35), 0.06, polygon((-0.8, 0.58), (0.8, 0.58)))


def draw_carrot(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """Lying aslant, tip at the bottom left, green tuft at the top right."""
    spread = rng.uniform(-5, 5)
    for angle in (-34, 0, 34):
        leaf = turned(curve((0, 0.08), (0.13, -0.22), (0, -0.6), (-0.13, -0.22)), angle + spread)
        canvas.body(_LEAF, turned(leaf + (0, -0.5), 42))
    root = curve(
        (0, -0.56), (0.26, -0.5), (0.28, -0.2), (0.14, 0.5), (0, 1.16), (-0.14, 0.5), (-0.28, -0.2), (-0.26, -0.5)
    )
    canvas.body(colour, turned(root, 42))
    for left, right, height in ((-0.26, -0.02, -0.2), (0.02, 0.22, 0.08), (-0.16, 0.02, 0.36), (0.0, 0.1, 0.6)):
        canvas.line(shade(colour, -0.4), 0.06, turned(polygon((left, height), (right, height + 0.03)), 42))


def draw_donut(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A ring of dough with icing in the main colour and sprinkles; the background shows through the hole."""
    turn = np.linspace(0, 2 * np.pi, 61)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    wave = (1 + 0.045 * np.sin(8 * turn + rng.uniform(0, 6)))[:, None]
    hole = circle * 0.27
    canvas.line(shade(_DOUGH, -0.6), 0.1, circle * 0.92)
    canvas.line(shade(_DOUGH, -0.6), 0.1, hole)
    canvas.fill(_DOUGH, np.concatenate([circle * 0.92, hole[::-1]]))
    canvas.fill(shade(colour, -0.45), np.concatenate([circle * 0.84 * wave, (circle * 0.34)[::-1]]))
    canvas.fill(colour, np.concatenate([circle * 0.8 * wave, (circle * 0.37)[::-1]]))
    sprinkles: tuple[Colour, ...] = ((255, 255, 255), (255, 220, 70), (90, 200, 235), (240, 90, 140))
    for step in range(12):
        angle, radius = step * 0.5236, (0.5, 0.66)[step % 2]
        bit = turned(tube(0.075, (-0.06, 0), (0.06, 0)), float(rng.uniform(0, 180)))
        canvas.fill(sprinkles[step % 4], bit + (radius * np.cos(angle), radius * np.sin(angle)))
