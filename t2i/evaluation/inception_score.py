"""Inception-Score formula (Salimans et al. 2016, arXiv:1606.03498, sec. 4) on any classifier's probabilities.

    IS = exp( mean_i KL( p(y | x_i) || p(y) ) ),   p(y) = mean_i p(y | x_i)

Between 1 (every image reads alike) and K (each image certain, all K classes equally often). Split rule: one split,
the whole set in the order given; with `splits` > 1 the set is cut into that many consecutive blocks (as even as
`numpy.array_split` makes them, nothing shuffled) and the mean over blocks is returned. Published values are mostly
means over ten splits of a shuffled set.

The probabilities are the softmax of the network's own classes where it has some (`inception`: 1,008 logits without
their bias, as torch-fidelity takes them), otherwise zero-shot ones (any CLIP).
"""

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.intervals import Interval, jackknife_of
from t2i.evaluation.measurement import Inputs, Measurement
from t2i.evaluation.paired import PairedDifference, swap_test
from t2i.evaluation.zero_shot import zero_shot_probabilities

_ROWS = 512
"""Resampled sets computed at once."""


def inception_score(probabilities: np.ndarray, splits: int = 1) -> float:
    """Score of class probabilities (N, K), in float64; UserError unless rows sum to 1 and each split has a sample."""
    checked = checks.probabilities(probabilities)
    if not 1 <= splits <= len(checked):
        raise UserError(f"splits={splits} for {len(checked)} samples: expected 1 to {len(checked)}")
    blocks = np.array_split(checked, splits)
    return float(np.mean([_score(block.mean(axis=0), _negentropy(block).mean()) for block in blocks]))


def inception_score_interval(probabilities: np.ndarray) -> Interval:
    """Score of a single split with a leave-one-out jackknife interval over the images."""
    checked = checks.probabilities(probabilities)
    value, count = inception_score(checked), len(checked)
    if count < 3:
        return Interval(value, -np.inf, np.inf)
    total, own = checked.sum(axis=0), _negentropy(checked)
    without = [
        _score((total - checked[rows]) / (count - 1), (own.sum() - own[rows]) / (count - 1))
        for rows in _portions(count)
    ]
    return jackknife_of(value, np.concatenate(without))


def probabilities_of(inputs: Inputs) -> np.ndarray:
    """float64 (N, K) of the generated images."""
    from scipy.special import softmax

    if inputs.logits is not None:
        return np.asarray(softmax(checks.features("class logit", inputs.logits, least=1), axis=1))
    assert inputs.classes is not None and inputs.logit_scale is not None
    return zero_shot_probabilities(inputs.generated, inputs.classes, inputs.logit_scale)


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`inception_score` with its interval."""
    return {"inception_score": Measurement(inception_score_interval(probabilities_of(inputs)))}


def difference(base: Inputs, tuned: Inputs) -> dict[str, PairedDifference]:
    """Score of `tuned` minus that of `base`, by swaps of pairs."""
    first, second = probabilities_of(base), probabilities_of(tuned)
    checks.same_length("base samples", first, "tuned samples", second)
    entropy = _negentropy(second) - _negentropy(first)

    def swapped(tosses: np.ndarray) -> np.ndarray:
        moved = [(tosses[rows] @ (second - first), tosses[rows] @ entropy) for rows in _portions(len(tosses))]
        classes, own = (np.concatenate(parts) / len(first) for parts in zip(*moved, strict=True))
        after = _score(second.mean(axis=0) - classes, _negentropy(second).mean() - own)
        return after - _score(first.mean(axis=0) + classes, _negentropy(first).mean() + own)

    change = inception_score(second) - inception_score(first)
    return {"inception_score": swap_test(change, swapped, len(first), base.seed, base.replicates)}


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
