"""Nearest training picture: mean 1 - cosine of a generated picture and the nearest that the subject was learned from.

Formulas in `subject.py`. Beside it the same of held-out pictures: new pictures of the subject are that far away, and a model
whose pictures come clearly closer repeats those that it was shown.
"""

from dataclasses import replace

from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.subject import ALONE, nearest, of_units
from t2i.evaluation.statistics.terms import of_mean


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`subject_nearest` with its interval, and `real` beside it."""
    found = inputs.subject
    assert found is not None
    own = measured(of_units(found, nearest(found, found.drawn, found.owners), 0.0, 2.0), ALONE)
    real = of_mean(nearest(found, found.held_out, found.held_out_owners), 0.0, 2.0)
    return {"subject_nearest": replace(own, beside={"real": measured(real, ALONE).interval})}


difference = between(measure)
