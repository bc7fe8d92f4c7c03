"""Drift: what else changed? Mean 1 - cosine of the base model's and the tuned one's picture, same seed, unrelated prompts.

Formulas in `subject.py`. 0 for the base model by definition. Beside it the distance of the base model's pictures of different
prompts: a model that kept nothing of what it drew has that. It has no better end: two tuned models are compared by it.
"""

from dataclasses import replace

import numpy as np

from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.subject import ALONE, known
from t2i.evaluation.metrics.subject import drift as distances
from t2i.evaluation.statistics.terms import of_mean


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`drift` with its interval, and `chance` beside it."""
    assert inputs.subject is not None
    values, chance = distances(inputs.subject)
    own = measured(replace(of_mean(values, 0.0, 2.0), alone=True), ALONE)
    if inputs.subject.base or not values.any():  # the same bits for every prompt: what draws them was not touched
        own = replace(own, interval=known(0.0))
    return {"drift": own if np.isnan(chance) else replace(own, beside={"chance": known(chance)})}


difference = between(measure)
