"""Inception-Score formula (Salimans et al. 2016, arXiv:1606.03498, sec. 4) on any classifier's probabilities.

    IS = exp( mean_i KL( p(y | x_i) || p(y) ) ),   p(y) = mean_i p(y | x_i)

Between 1 (every image reads alike) and K (each image certain, all K classes equally often). Split rule: one split,
the whole set in the order given; with `splits` > 1 the set is cut into that many consecutive blocks (as even as
`numpy.array_split` makes them, nothing shuffled) and the mean over blocks is returned.
"""

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.intervals import Interval, centred, resample_counts
from t2i.evaluation.measurement import Inputs, Measurement
from t2i.evaluation.zero_shot import zero_shot_probabilities


def inception_score(probabilities: np.ndarray, splits: int = 1) -> float:
    """Score of class probabilities (N, K), in float64; UserError unless rows sum to 1 and each split has a sample."""
    checked = checks.probabilities(probabilities)
    if not 1 <= splits <= len(checked):
        raise UserError(f"splits={splits} for {len(checked)} samples: expected 1 to {len(checked)}")
    scores = [_weighted(block, np.ones((1, len(block))))[0] for block in np.array_split(checked, splits)]
    return float(np.mean(scores))


def inception_score_interval(probabilities: np.ndarray, seed: int, replicates: int = 2000) -> Interval:
    """Score of a single split with a bootstrap interval over the images.

    A resample holds fewer distinct images and scores lower; the interval is shifted by the bootstrap's estimate of
    that bias (`intervals.centred`).
    """
    checked = checks.probabilities(probabilities)
    counts = resample_counts(len(checked), seed, replicates)
    return centred(inception_score(checked), _weighted(checked, counts))


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`inception_score` of the zero-shot class probabilities."""
    assert inputs.classes is not None and inputs.logit_scale is not None
    probabilities = zero_shot_probabilities(inputs.generated, inputs.classes, inputs.logit_scale)
    return {"inception_score": Measurement(inception_score_interval(probabilities, inputs.seed, inputs.replicates))}


def _weighted(probabilities: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Score (R,) of each resample: entropy of the mean minus mean of the entropies, which equals the mean KL."""
    from scipy.special import entr

    share = counts / len(probabilities)
    marginal = share @ probabilities
    return np.exp(entr(marginal).sum(axis=1) - share @ entr(probabilities).sum(axis=1))
