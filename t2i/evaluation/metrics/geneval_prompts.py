"""GenEval's prompts (Ghosh et al. 2023, arXiv:2310.11513) as a vision-language model answers for their pictures.

Not GenEval: there an object detector and a CLIP look. The score of a prompt is in [0, 1]; `geneval_prompts` is the mean over the
skills, as GenEval's overall score is, and `geneval_prompts_<skill>` that of each.
"""

from dataclasses import replace

import numpy as np

from t2i.evaluation.metrics import composition
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.vqa_score import ANSWERED
from t2i.evaluation.statistics.terms import Units, of_mean

ALL = "geneval_prompts"
NAMES = {skill: f"{ALL}_{name.removeprefix('composition_')}" for skill, name in composition.NAMES.items()}
"""The number of each skill."""


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """The mean over the skills, and each skill's mean score, with intervals over prompts.

    A prompt has a score s in [0, 1] and counts for 1 / (skills x prompts of its skill), so the contribution of one to the mean of
    means is N / (skills x prompts of its skill) x (s - the mean of its skill). Raises UserError where there is no prompt.
    """
    assert inputs.suite is not None
    found = composition.by_skill(inputs.suite)
    scores = list(inputs.suite.hits.values())
    total = sum(map(len, scores))
    means = np.array([own.mean() for own in scores])
    parts = [(own - own.mean()) * total / (len(scores) * len(own)) for own in scores]
    terms = of_mean(np.concatenate(parts) + means.mean(), lowest=0.0, highest=1.0)
    overall = measured(replace(terms, alone=True, scale=ANSWERED), Units())
    return {ALL: overall, **{NAMES[skill]: own for skill, own in found.items()}}


difference = between(measure)
