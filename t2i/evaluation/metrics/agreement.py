"""Class agreement: how often the class that the extractor reads from an image is one that its caption names.

The reading is zero-shot (Radford et al. 2021, arXiv:2103.00020, sec. 3.1): the class whose text feature has the
largest cosine; among equal ones the first.
"""

from collections.abc import Sequence

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.zero_shot import cosines
from t2i.evaluation.statistics.terms import of_share


def agreement_hits(
    image_features: np.ndarray, class_text_features: np.ndarray, accepted: Sequence[frozenset[int] | set[int]]
) -> np.ndarray:
    """float64 (N,): 1 where the class read from image (N, D) is accepted, 0 where not, NaN where none is accepted.

    `accepted` holds, for each image, indices into `class_text_features` (K, D). UserError when no image has a class.
    """
    checks.same_length("images", image_features, "sets of accepted classes", accepted)
    read = cosines(image_features, class_text_features).argmax(axis=1)
    hits = np.array([float(index in names) if names else np.nan for index, names in zip(read, accepted, strict=True)])
    if np.isnan(hits).all():
        raise UserError("no sample has an accepted class: expected at least one; leave 'agreement' out of eval.metrics")
    return hits


def agreement(
    image_features: np.ndarray, class_text_features: np.ndarray, accepted: Sequence[frozenset[int] | set[int]]
) -> float:
    """Share in [0, 1] of the images that have an accepted class and are read as one."""
    return float(np.nanmean(agreement_hits(image_features, class_text_features, accepted)))


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`agreement`: the share with its interval, and the hit of each sample."""
    assert inputs.classes is not None and inputs.accepted is not None
    hits = agreement_hits(inputs.generated, inputs.classes, inputs.accepted)
    return {"agreement": measured(of_share(hits), inputs.units, hits)}


difference = between(measure)
