"""A character with a name, whom the bundled model has never seen: something to teach it."""

import numpy as np

from t2i.data.sources.scenes.canvas import Canvas, Colour, box, curve, ellipse, mirrored, polygon, shade, tube

_DARK: Colour = (38, 42, 58)
_SCARF: Colour = (246, 138, 30)
_EYE: Colour = (232, 244, 255)
_BULB: Colour = (250, 212, 48)


def draw_pip(canvas: Canvas, colour: Colour, rng: np.random.Generator) -> None:
    """A little robot with a round head, one antenna and an orange scarf, waving."""
    wave = float(rng.uniform(-0.12, 0.12))
    metal, limb = shade(colour, 0.6), shade(colour, -0.3)
    canvas.line(_DARK, 0.07, polygon((0.0, -0.78), (0.0, -0.94)))
    canvas.body(_BULB, ellipse(0.0, -0.95, 0.1))
    arm = tube(0.15, (-0.42, 0.36), (-0.66, 0.5), (-0.72, 0.7))
    canvas.body(limb, arm, tube(0.15, (0.42, 0.36), (0.68, 0.22), (0.8, -0.08 + wave)))
    canvas.body(limb, box(-0.32, 0.72, -0.08, 0.98, 0.08), box(0.08, 0.72, 0.32, 0.98, 0.08))
    canvas.body(colour, box(-0.46, 0.16, 0.46, 0.84, 0.2))
    canvas.fill(metal, box(-0.24, 0.42, 0.24, 0.7, 0.08))
    canvas.fill(_SCARF, ellipse(-0.1, 0.56, 0.07))
    canvas.fill(_BULB, ellipse(0.1, 0.56, 0.07))
    canvas.body(
        colour,
        curve(
            (0, -0.8), (0.5, -0.68), (0.66, -0.3), (0.5, 0.06), (0, 0.16), (-0.5, 0.06), (-0.66, -0.3), (-0.5, -0.68)
        ),
    )
    canvas.fill(_DARK, box(-0.46, -0.52, 0.46, -0.06, 0.2))
    for eye in (ellipse(0.22, -0.3, 0.13), mirrored(ellipse(0.22, -0.3, 0.13))):
        canvas.fill(_EYE, eye)
    canvas.body(_SCARF, box(-0.46, 0.06, 0.46, 0.24, 0.09), tube(0.16, (0.3, 0.2), (0.42, 0.52)))
