"""The animals: one function draws one animal, in its main colour, in the frame that the canvas has set."""

import numpy as np

from t2i.data.sources.scenes.canvas import Canvas, Colour, box, curve, ellipse, mirrored, polygon, shade, tube

_DARK: Colour = (40, 34, 40)
_WHITE: Colour = (255, 255, 255)
_PINK: Colour = (244, 150, 160)


def _eye(canvas: Canvas, x: float, y: float, radius: float) -> None:
    canvas.fill(_DARK, ellipse(x, y, radius))
    canvas.fill(_WHITE, ellipse(x - 0.3 * radius, y - 0.35 * radius, 0.36 * radius))


def draw_cat(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """Sitting, seen from the front, tail curled up at the side."""
    curl = rng.uniform(-0.1, 0.1)
    ear = polygon((-0.6, -0.35), (-0.58, -1.0), (-0.08, -0.66))
    inner = polygon((-0.5, -0.5), (-0.5, -0.82), (-0.24, -0.65))
    canvas.body(colour, tube(0.2, (0.3, 0.8), (0.75, 0.78), (0.92, 0.4), (0.78 + curl, 0.05)))
    canvas.body(
        colour, curve((0, 0.0), (0.4, 0.25), (0.54, 0.75), (0.4, 0.96), (-0.4, 0.96), (-0.54, 0.75), (-0.4, 0.25))
    )
    canvas.fill(shade(colour, 0.6), ellipse(0, 0.5, 0.24, 0.3))
    canvas.body(
        shade(colour, 0.25), ellipse(-0.2, 0.9, 0.19, 0.1), ellipse(0.2, 0.9, 0.19, 0.1), edge=shade(colour, -0.6)
    )
    canvas.body(colour, ellipse(0, -0.28, 0.64, 0.47), ear, mirrored(ear))
    canvas.fill(_PINK, inner, mirrored(inner))
    for x in (-0.16, 0.0, 0.16):
        canvas.line(shade(colour, -0.45), 0.07, polygon((x, -0.7), (x * 0.9, -0.54)))
    canvas.fill(shade(colour, 0.7), ellipse(-0.12, -0.06, 0.18, 0.13), ellipse(0.12, -0.06, 0.18, 0.13))
    for side in (-1, 1):
        canvas.fill((240, 250, 170), ellipse(side * 0.28, -0.32, 0.15, 0.16))
        canvas.fill(_DARK, ellipse(side * 0.28, -0.32, 0.075, 0.15))
        for tilt in (-0.06, 0.06):
            canvas.line(_DARK, 0.03, polygon((side * 0.3, -0.05 + tilt * 0.5), (side * 0.82, -0.08 + tilt * 2)))
    canvas.fill((225, 95, 115), polygon((-0.08, -0.16), (0.08, -0.16), (0, -0.07)))


def draw_dog(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """Standing, seen from the side, with a floppy ear and a red collar."""
    wag = rng.uniform(-0.12, 0.12)
    dark = shade(colour, -0.4)
    canvas.body(
        shade(colour, -0.2), box(-0.42, 0.3, -0.22, 0.9, 0.08), box(0.2, 0.3, 0.4, 0.9, 0.08), edge=shade(colour, -0.62)
    )
    canvas.body(
        colour,
        tube(0.16, (-0.55, 0.15), (-0.82, -0.1), (-0.86 + wag, -0.45), end=0.1),
        box(-0.68, -0.02, 0.5, 0.5, 0.22),
        box(-0.68, 0.3, -0.46, 0.95, 0.09),
        box(0.3, 0.2, 0.52, 0.95, 0.09),
        polygon((0.1, 0.1), (0.2, -0.4), (0.66, -0.3), (0.52, 0.3)),
        ellipse(0.42, -0.5, 0.36, 0.34),
        tube(0.32, (0.5, -0.4), (0.82, -0.36), end=0.26),
    )
    canvas.fill(shade(colour, 0.55), tube(0.14, (0.62, -0.3), (0.82, -0.3)))
    canvas.fill((215, 50, 60), polygon((0.13, -0.16), (0.62, -0.1), (0.6, 0.02), (0.1, -0.04)))
    canvas.body(dark, curve((0.2, -0.78), (0.36, -0.62), (0.32, -0.15), (0.14, -0.05), (0.02, -0.3), (0.05, -0.65)))
    canvas.fill(_DARK, ellipse(0.93, -0.45, 0.1, 0.09))
    _eye(canvas, 0.55, -0.58, 0.085)


def draw_bird(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A plump songbird on two thin legs, wing at its side."""
    lift = rng.uniform(-0.1, 0.1)
    for x in (-0.08, 0.18):
        canvas.line((150, 90, 40), 0.07, polygon((x, 0.5), (x, 0.9), (x + 0.2, 0.93)))
    canvas.body((250, 170, 40), polygon((0.68, -0.55), (1.0, -0.38), (0.66, -0.25)))
    canvas.body(
        colour,
        polygon((-0.3, 0.05), (-1.0, -0.2 + lift), (-0.96, 0.12 + lift), (-0.4, 0.5)),
        ellipse(-0.02, 0.15, 0.6, 0.46, -20),
        ellipse(0.4, -0.4, 0.4),
    )
    canvas.fill(shade(colour, 0.6), ellipse(0.24, 0.22, 0.26, 0.3, -15))
    canvas.body(
        shade(colour, -0.3), curve((0.1, -0.08), (0.12, 0.2), (-0.2, 0.42), (-0.75, 0.35), (-0.4, 0.1), (-0.2, -0.12))
    )
    _eye(canvas, 0.5, -0.48, 0.1)


def draw_elephant(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """From the side: a great ear, the trunk curled up at its end, one tusk."""
    curl = rng.uniform(-0.08, 0.08)
    canvas.line(shade(colour, -0.5), 0.08, curve((-0.8, -0.1), (-0.96, 0.15), (-0.92, 0.4), closed=False))
    canvas.body(
        shade(colour, -0.2),
        box(-0.48, 0.2, -0.2, 0.82, 0.08),
        box(0.02, 0.2, 0.28, 0.82, 0.08),
        edge=shade(colour, -0.62),
    )
    canvas.body(
        colour,
        ellipse(-0.3, -0.02, 0.58, 0.5),
        box(-0.82, 0.0, -0.5, 0.88, 0.1),
        box(-0.2, 0.1, 0.1, 0.88, 0.1),
        ellipse(0.36, -0.28, 0.42, 0.44),
        tube(0.3, (0.6, -0.2), (0.74, 0.3), (0.8, 0.62), (0.94, 0.55 + curl), end=0.15),
    )
    canvas.body((255, 250, 225), curve((0.5, 0.12), (0.62, 0.16), (0.62, 0.4), (0.52, 0.32)), edge=shade(colour, -0.62))
    canvas.body(
        shade(colour, -0.14),
        curve((0.24, -0.62), (0.32, -0.2), (0.12, 0.24), (-0.22, 0.2), (-0.34, -0.2), (-0.16, -0.6)),
    )
    canvas.fill(
        shade(_PINK, 0.1),
        curve((0.12, -0.42), (0.18, -0.18), (0.06, 0.06), (-0.12, 0.04), (-0.18, -0.2), (-0.06, -0.42)),
    )
    _eye(canvas, 0.52, -0.34, 0.08)


def draw_giraffe(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """From the side: long legs, a very long neck, dark patches."""
    patch = shade(colour, -0.5)
    canvas.body(
        shade(colour, -0.2),
        box(-0.42, 0.3, -0.3, 0.98, 0.04),
        box(0.06, 0.3, 0.18, 0.98, 0.04),
        edge=shade(colour, -0.62),
    )
    canvas.line(patch, 0.07, curve((-0.62, 0.15), (-0.74, 0.35), (-0.72, 0.55), closed=False))
    canvas.line(patch, 0.08, polygon((0.4, -0.85), (0.38, -0.99)))
    canvas.line(patch, 0.08, polygon((0.52, -0.85), (0.53, -0.99)))
    canvas.body(
        colour,
        curve((-0.62, 0.1), (-0.3, 0.0), (0.1, -0.05), (0.4, 0.1), (0.32, 0.42), (-0.2, 0.5), (-0.58, 0.42)),
        box(-0.62, 0.2, -0.46, 1.0, 0.05),
        box(0.2, 0.2, 0.36, 1.0, 0.05),
        polygon((0.0, 0.1), (0.3, -0.8), (0.56, -0.75), (0.4, 0.25)),
        polygon((0.32, -0.72), (0.2, -0.9), (0.4, -0.84)),
        tube(0.28, (0.44, -0.75), (0.76, -0.62), end=0.2),
    )
    spots = ((-0.45, 0.22, 0.12), (-0.15, 0.15, 0.12), (-0.28, 0.38, 0.1), (0.05, 0.36, 0.11), (0.2, 0.1, 0.11))
    for x, y, radius in (*spots, (0.28, -0.18, 0.09), (0.36, -0.42, 0.085), (0.24, 0.33, 0.07)):
        canvas.fill(patch, ellipse(x + rng.uniform(-0.02, 0.02), y, radius, radius * 0.85))
    canvas.fill(_DARK, ellipse(0.82, -0.62, 0.035))
    _eye(canvas, 0.52, -0.77, 0.065)


def draw_sheep(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A woolly cloud in the main colour; face and legs are dark."""
    face: Colour = (62, 54, 62)
    for x in (-0.5, -0.25, 0.15, 0.38):
        canvas.body(face, box(x - 0.07, 0.3, x + 0.07, 0.88, 0.05))
    turn = rng.uniform(0, 0.5)
    angles = np.arange(11) / 11 * 2 * np.pi + turn
    wool = [ellipse(-0.1 + 0.56 * np.cos(a), 0.06 + 0.34 * np.sin(a), 0.25) for a in angles]
    canvas.body(colour, ellipse(-0.1, 0.06, 0.6, 0.42), *wool)
    for x, y in ((-0.45, 0.1), (-0.12, -0.12), (-0.1, 0.25), (0.2, 0.1)):
        canvas.line(shade(colour, -0.28), 0.06, curve((x - 0.12, y), (x, y + 0.1), (x + 0.12, y), closed=False))
    canvas.body(face, ellipse(0.66, -0.15, 0.25, 0.32, -20), ellipse(0.42, -0.2, 0.18, 0.08, -20))
    canvas.body(colour, ellipse(0.5, -0.44, 0.15), ellipse(0.68, -0.48, 0.15), ellipse(0.58, -0.38, 0.14))
    canvas.fill(_WHITE, ellipse(0.74, -0.2, 0.085))
    canvas.fill(_DARK, ellipse(0.76, -0.19, 0.045))
