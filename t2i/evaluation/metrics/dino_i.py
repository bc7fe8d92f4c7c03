"""DINO-I: is the subject there? As CLIP-I, by features of DINOv2, which tell things of one class apart (`subject.py`).

Ruiz et al. 2023, arXiv:2208.12242, sec. 4, prefer it to CLIP-I; theirs are of DINO ViT-S/16 and are other numbers.
"""

from t2i.evaluation.metrics import clip_i
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`dino_i` with its interval, and `real` beside it."""
    return clip_i.measure(inputs, "dino_i")


difference = between(measure)
