"""`held_out_loss@8`: the training loss of held-out pictures at eight equidistant times (`t2i/training/held_out.py` says which).

Each picture contributes its mean over the times; two models are compared picture by picture, under the same noise.
"""

from dataclasses import replace

from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.statistics.terms import Units, of_mean


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`held_out_loss@8`: the mean over pictures and times with its interval; pictures are the sample."""
    assert inputs.held_out_losses is not None
    own = checks.features("held-out loss", inputs.held_out_losses, least=1).mean(axis=1)
    return {"held_out_loss@8": measured(replace(of_mean(own, 0.0), alone=True), Units())}


difference = between(measure)
