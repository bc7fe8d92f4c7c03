"""Inception-Score formula (Salimans et al. 2016, arXiv:1606.03498, sec. 4) on any classifier's probabilities.

    IS = exp( mean_i KL( p(y | x_i) || p(y) ) ),   p(y) = mean_i p(y | x_i)

Between 1 (every image reads alike) and K (each image certain, all K classes equally often). Split rule of
`inception_score`: one split, the whole set. `inception_score_10` is what papers print: the mean over ten consecutive blocks, cut
at i * N // 10 as in the authors' code, nothing shuffled. It is lower, because a block shows less variety than the whole.

The probabilities are the softmax of the network's own classes where it has some (`inception`: 1,008 logits without
their bias, as torch-fidelity takes them), otherwise zero-shot ones (any CLIP).
"""

from itertools import pairwise

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.zero_shot import zero_shot_probabilities
from t2i.evaluation.statistics.intervals import Interval
from t2i.evaluation.statistics.terms import Terms, left_one_out

PUBLISHED_SPLITS = 10

_ROWS = 512
"""Resampled sets computed at once."""


def inception_score(probabilities: np.ndarray, splits: int = 1) -> float:
    """Score of class probabilities (N, K), in float64, the mean over consecutive blocks cut at i * N // splits.

    Raises UserError unless rows sum to 1 and each split has a sample.
    """
    checked = checks.probabilities(probabilities)
    if not 1 <= splits <= len(checked):
        raise UserError(f"splits={splits} for {len(checked)} samples: expected 1 to {len(checked)}")
    return float(np.mean(scores_of_splits(checked, splits)))


def scores_of_splits(probabilities: np.ndarray, splits: int = PUBLISHED_SPLITS) -> np.ndarray:
    """The score of each of `splits` consecutive blocks of checked probabilities (N, K): float64 (splits,).

    Papers print their mean and their standard deviation (ddof = 0).
    """
    edges = [number * len(probabilities) // splits for number in range(splits + 1)]
    blocks = [probabilities[start:end] for start, end in pairwise(edges)]
    return np.array([_score(block.mean(axis=0), _negentropy(block).mean()) for block in blocks])


def inception_score_terms(probabilities: np.ndarray) -> Terms:
    """Score of a single split with the contribution of each image: the score without it."""
    checked = checks.probabilities(probabilities)
    value, count = inception_score(checked), len(checked)
    if count < 3:
        return Terms(value, 1.0, 1.0)
    total, own = checked.sum(axis=0), _negentropy(checked)
    without = [
        _score((total - checked[rows]) / (count - 1), (own.sum() - own[rows]) / (count - 1))
        for rows in _portions(count)
    ]
    return Terms(value, value, 1.0, generated=left_one_out(np.concatenate(without)))


def probabilities_of(inputs: Inputs) -> np.ndarray:
    """float64 (N, K) of the generated images."""
    from scipy.special import softmax

    if inputs.logits is not None:
        return np.asarray(softmax(checks.features("class logit", inputs.logits, least=1), axis=1))
    assert inputs.classes is not None and inputs.logit_scale is not None
    return zero_shot_probabilities(inputs.generated, inputs.classes, inputs.logit_scale)


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`inception_score` with its interval; from ten images on `inception_score_10` and `inception_score_10_std` too, the mean
    and the standard deviation over ten splits that papers print.
    """
    probabilities = probabilities_of(inputs)
    found = {"inception_score": measured(inception_score_terms(probabilities), inputs.units)}
    if len(probabilities) >= PUBLISHED_SPLITS:
        splits = scores_of_splits(checks.probabilities(probabilities))
        for name, value in (("", splits.mean()), ("_std", splits.std())):
            found[f"inception_score_10{name}"] = Measurement(Interval(float(value), -np.inf, np.inf))
    return found


difference = between(measure)


def _score(marginal: np.ndarray, negentropy: np.ndarray | float) -> np.ndarray:
    """Of marginals (..., K): entropy of the mean minus mean of the entropies, which equals the mean KL."""
    from scipy.special import entr

    # Differences of sums leave rounding below zero where a class has no mass.
    return np.asarray(np.exp(entr(np.clip(marginal, 0.0, None)).sum(axis=-1) + negentropy))


def _negentropy(probabilities: np.ndarray) -> np.ndarray:
    from scipy.special import entr

    return np.asarray(-entr(probabilities).sum(axis=-1))


def _portions(count: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, count, _ROWS)]
