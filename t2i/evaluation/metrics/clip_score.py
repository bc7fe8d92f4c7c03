"""CLIP score: how well an image fits its caption (Hessel et al. 2021, arXiv:2104.08718, eq. 1, on the 0-100 scale).

Each sample scores 100 * max(cos, 0); the mean is taken afterwards, so one opposed pair cannot lower another's
score. Hessel's factor w = 2.5 is left out, as everywhere in text-to-image work.
"""

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.zero_shot import unit
from t2i.evaluation.statistics.terms import of_mean


def clip_scores(image_features: np.ndarray, text_features: np.ndarray) -> np.ndarray:
    """float64 (N,), 0 to 100: score of each image (N, D) with the caption in the same row (N, D).

    Raises UserError for non-finite or zero features and for different shapes.
    """
    images, texts = unit("image", image_features), unit("caption", text_features)
    checks.same_length("images", images, "captions", texts)
    checks.same_width("image", images, "caption", texts)
    return 100.0 * np.clip((images * texts).sum(axis=1), 0.0, 1.0)


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`clip_score`: the mean with its interval, and the score of each sample."""
    assert inputs.texts is not None
    scores = clip_scores(inputs.generated, inputs.texts)
    return {"clip_score": measured(of_mean(scores, 0.0, 100.0), inputs.units, scores)}


difference = between(measure)
