"""Composition: the share of a suite's prompts whose picture shows what they ask for, skill by skill.

A judge that reads pictures and texts in one space chooses, for each picture, among captions that differ in the one skill alone:
the picture is right where its own prompt has the largest cosine (forced choice, as Thrush et al. 2022, arXiv:2204.03162, choose
between two captions). So chance is known: one by the number of captions. What the judge gets wrong of real pictures of the same
prompts is its own error, and bounds what any model can reach; it stands beside every number.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.statistics.intervals import Interval
from t2i.evaluation.statistics.terms import Units, of_share
from t2i.evaluation.vectors import unit

NAMES = {
    "object": "composition_object",
    "two objects": "composition_two_objects",
    "count": "composition_count",
    "colour": "composition_colour",
    "position": "composition_position",
    "attribute binding": "composition_binding",
}
"""The number of each skill."""


def choices(images: np.ndarray, captions: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """float64 (N,): 1 where image (N, D) is nearest to the first of its captions, 0 where to another one.

    captions: for each image its candidates, each a matrix (wordings, D), of which the mean direction counts. Equal cosines are
    wrong. Raises UserError for features that are not finite and for different lengths.
    """
    rows = unit(checks.features("suite image", images, least=1))
    checks.same_length("suite images", rows, "sets of captions", captions)
    return np.array([_first(row, own) for row, own in zip(rows, captions, strict=True)])


def _first(image: np.ndarray, candidates: Sequence[np.ndarray]) -> float:
    texts = unit(np.stack([unit(checks.features("caption", own, least=1)).mean(axis=0) for own in candidates]))
    right, *others = (texts @ image).tolist()
    return float(all(right > other for other in others))


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`composition_<skill>`: the share of each skill with its interval, beside that of real pictures and chance."""
    found = inputs.suite
    assert found is not None
    if not found.hits:
        raise UserError("the suite holds no prompt: expected one at least; leave composition out of eval.metrics")
    measurements = {}
    for skill, hits in found.hits.items():
        own = measured(replace(of_share(hits), alone=True), Units())
        beside = {}
        if skill in found.real:
            beside["real"] = measured(of_share(found.real[skill]), Units()).interval
        if skill in found.chance:
            beside["chance"] = Interval(*[found.chance[skill]] * 3)
        measurements[NAMES[skill]] = replace(own, beside=beside)
    return measurements


difference = between(measure)
