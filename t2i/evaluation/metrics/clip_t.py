"""CLIP-T: is the prompt still followed? Mean cosine of a picture and its prompt, the class word in the subject's place.

Ruiz et al. 2023, arXiv:2208.12242, sec. 4; formulas in `subject.py`. Beside it what the same pictures have with other prompts
of their subject: a model that draws the subject and ignores the rest is not above that.
"""

from dataclasses import replace

import numpy as np

from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.subject import ALONE, fitting, known, of_units


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`clip_t` with its interval, and `chance` beside it."""
    assert inputs.subject is not None
    values, chance = fitting(inputs.subject)
    own = measured(of_units(inputs.subject, values, -1.0, 1.0), ALONE)
    return {"clip_t": own if np.isnan(chance) else replace(own, beside={"chance": known(chance)})}


difference = between(measure)
