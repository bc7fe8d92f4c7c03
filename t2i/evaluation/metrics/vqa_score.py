"""VQAScore: how sure a vision-language model is that a picture shows its prompt (Lin et al. 2024, arXiv:2404.01291, eq. 1).

P(yes) of the question 'Does this figure show "<prompt>"?', of the two answers alone (`t2i/evaluation/extractors/vlm.py`), and
beside it what both answers have of all words: where that is low, the model does not answer such questions, and its score says
little.
"""

from dataclasses import replace

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.statistics import intervals
from t2i.evaluation.statistics.terms import of_mean

ANSWERED = 100.0
"""Scale of answers: one of a network in float32 depends on its batch by 1e-5 of one, which is rounding and no change."""


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`vqa_score`: the mean with its interval, and that of each sample; `vqa_score_answered`: of all words, not tested."""
    assert inputs.answers is not None
    yes, answered = (checks.shares("probabilities", column) for column in np.asarray(inputs.answers, np.float64).T)
    return {
        "vqa_score": measured(replace(of_mean(yes, 0.0, 1.0), scale=ANSWERED), inputs.units, yes),
        "vqa_score_answered": Measurement(intervals.mean(answered, 0.0, 1.0), answered),
    }


difference = between(measure)
