"""CLIP-I: is the subject there? Mean cosine of CLIP features of generated and real pictures of it (`subject.py`).

Ruiz et al. 2023, arXiv:2208.12242, sec. 4. The real ones are held out, so that drawing the training pictures is not success;
beside it what real pictures of the subject have among each other.
"""

from dataclasses import replace

from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.subject import ALONE, closeness, known, real_closeness


def measure(inputs: Inputs, name: str = "clip_i") -> dict[str, Measurement]:
    """`clip_i` with its interval, and `real` beside it."""
    assert inputs.subject is not None
    own = measured(closeness(inputs.subject), ALONE)
    return {name: replace(own, beside={"real": known(real_closeness(inputs.subject))})}


difference = between(measure)
