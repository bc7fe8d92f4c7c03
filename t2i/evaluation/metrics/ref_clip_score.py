"""RefCLIPScore: image and caption, and that caption and others of the same picture (Hessel et al. 2021,
arXiv:2104.08718, eq. 2).

    RefCLIP-S(c, R, v) = H-Mean( CLIP-S(c, v), max( max_{r in R} cos(c, r), 0 ) ),   CLIP-S = 2.5 max(cos(c, v), 0)

In the paper's own units, factor 2.5 included (`clip_score` is on the 0-100 scale without it). Zero where either is.
"""

from collections.abc import Sequence

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.zero_shot import unit
from t2i.evaluation.statistics.terms import of_mean

WEIGHT = 2.5
HIGHEST = 2.0 * WEIGHT / (WEIGHT + 1.0)
"""Of a picture that is its caption, which is another one's."""


def ref_clip_scores(
    image_features: np.ndarray, text_features: np.ndarray, reference_features: Sequence[np.ndarray]
) -> np.ndarray:
    """float64 (N,): score of each image (N, D) with its caption (N, D) and that picture's other captions, N matrices
    (n_i, D). NaN where there is no other caption; UserError when nowhere is one, or when features do not fit.
    """
    images, texts = unit("image", image_features), unit("caption", text_features)
    checks.same_length("images", images, "captions", texts)
    checks.same_length("images", images, "sets of reference captions", reference_features)
    checks.same_width("image", images, "caption", texts)
    if not any(map(len, reference_features)):
        raise UserError("no picture has a second caption: leave 'ref_clip_score' out of eval.metrics")
    fits = WEIGHT * np.clip((images * texts).sum(axis=1), 0.0, None)
    agrees = np.array(
        [
            np.clip((unit("reference caption", others) @ text).max(), 0.0, None) if len(others) else np.nan
            for others, text in zip(reference_features, texts, strict=True)
        ]
    )
    total = fits + agrees
    return np.divide(2.0 * fits * agrees, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0)


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`ref_clip_score`: the mean over the samples that have one, with its interval, and the score of each sample."""
    assert inputs.texts is not None and inputs.other_texts is not None
    scores = ref_clip_scores(inputs.generated, inputs.texts, inputs.other_texts)
    return {"ref_clip_score": measured(of_mean(scores, 0.0, HIGHEST), inputs.units, scores)}


difference = between(measure)
