"""PickScore: which picture people would choose for a prompt (Kirstain et al. 2023, arXiv:2305.01569, eq. 1).

    s = exp(logit scale) * cos(picture, prompt)

of a CLIP-H that was tuned on the choices of Pick-a-Pic; the chance of being chosen before another picture of the same prompt is
the sigmoid of the difference. Its change is told by which picture of each pair has the higher score.
"""

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.zero_shot import unit
from t2i.evaluation.statistics.terms import of_choices


def scaled_cosines(image_features: np.ndarray, text_features: np.ndarray, scale: float) -> np.ndarray:
    """float64 (N,): scale times the cosine of each image (N, D) with the text in the same row (N, D).

    Raises UserError for non-finite or zero features and for different shapes.
    """
    images, texts = unit("image", image_features), unit("caption", text_features)
    checks.same_length("images", images, "captions", texts)
    checks.same_width("image", images, "caption", texts)
    return np.asarray(scale * (images * texts).sum(axis=1))


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`pickscore`: the mean with its interval, and the score of each sample."""
    assert inputs.texts is not None and inputs.logit_scale is not None
    scores = scaled_cosines(inputs.generated, inputs.texts, inputs.logit_scale)
    return {"pickscore": measured(of_choices(scores), inputs.units, scores)}


difference = between(measure)
