"""HPSv2.1: which picture people would prefer for a prompt (Wu et al. 2023, arXiv:2306.09341, sec. 4).

    s = 100 * cos(picture, prompt)

of a CLIP-H that was tuned on the rankings of HPD, in the unit of the authors' tables; their function `score` gives the cosine
alone. Its change is told by which picture of each pair has the higher score. Version 2.0 has other weights and another scale.
"""

from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.pickscore import scaled_cosines
from t2i.evaluation.statistics.terms import of_choices


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`hpsv2`: the mean with its interval, and the score of each sample."""
    assert inputs.texts is not None
    scores = scaled_cosines(inputs.generated, inputs.texts, 100.0)
    return {"hpsv2": measured(of_choices(scores), inputs.units, scores)}


difference = between(measure)
