"""Composition: the share of a suite's prompts whose picture shows what they ask for, skill by skill.

A judge that reads pictures and texts in one space chooses, for each picture, among candidates that differ in the one skill alone:
the picture is right where what its prompt says has the largest cosine (forced choice, as Thrush et al. 2022, arXiv:2204.03162,
choose between two captions). So chance is known: one by the number of candidates. What the judge gets wrong of real pictures of
the same prompts is its own error, and bounds what any model can reach; it stands beside every number.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, Suited, between, measured
from t2i.evaluation.metrics.vqa_score import ANSWERED
from t2i.evaluation.statistics.intervals import Interval
from t2i.evaluation.statistics.terms import Terms, Units, of_mean, of_share
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


Layout = Sequence[tuple[np.ndarray, np.ndarray]]
"""Regions of a picture, each as its feature (D,) and those of the wordings of what is to be seen there (W, D)."""


def chosen(candidates: Sequence[Sequence[Layout]]) -> float:
    """1.0 where a picture fits the first of its candidates best, 0.0 where another one fits as well or better.

    A candidate fits as well as the best of its layouts, and that by the mean cosine over its regions: of the region's feature and
    the mean direction of the wordings. Raises UserError for features that are not finite.
    """
    right, *others = (max(_fit(layout) for layout in own) for own in candidates)
    return float(all(right > other for other in others))


def _fit(layout: Layout) -> float:
    texts = unit(np.stack([unit(words).mean(axis=0) for _, words in layout]))
    images = unit(checks.features("region", np.stack([image for image, _ in layout]), least=1))
    return float((texts * images).sum(axis=1).mean())


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`composition_<skill>`: the share of each skill, or its mean score, with its interval, beside that of real pictures and
    chance.
    """
    assert inputs.suite is not None
    return {NAMES[skill]: own for skill, own in by_skill(inputs.suite).items()}


def by_skill(found: Suited) -> dict[str, Measurement]:
    """The same by the skill's name. Raises UserError where there is no prompt."""
    if not found.hits:
        raise UserError("the suite holds no prompt: expected one at least; leave it out of eval.metrics")
    terms = partial(of_mean, lowest=0.0, highest=1.0) if found.scored else of_share
    measurements = {}
    for skill, hits in found.hits.items():
        own = measured(_alone(terms(hits), found.scored), Units())
        beside = {}
        if skill in found.real:
            beside["real"] = measured(_alone(terms(found.real[skill]), found.scored), Units()).interval
        if skill in found.chance:
            beside["chance"] = Interval(*[found.chance[skill]] * 3)
        measurements[skill] = replace(own, beside=beside)
    return measurements


def _alone(terms: Terms, scored: bool) -> Terms:
    return replace(terms, alone=True, scale=ANSWERED if scored else terms.scale)


difference = between(measure)
