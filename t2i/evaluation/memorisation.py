"""Does a model repeat its training images? Nearest training neighbours, and MIFID (Bai et al. 2021, arXiv:2106.03062,
sec. 3.2).

    m = mean_i min_j (1 - |cos(g_i, t_j)|),   MIFID = FID / m if m < tau, else FID

over generated features g and training features t. tau = 0.1 for Inception features, as in the paper's competition;
where ordinary pictures of one domain are closer than that to each other, MIFID is only comparable with itself.
"""

import numpy as np

from t2i.evaluation import checks, fid
from t2i.evaluation.gaussian import Gaussian, distance
from t2i.evaluation.intervals import Interval, bootstrap_mean, jackknife
from t2i.evaluation.measurement import Inputs, Measurement
from t2i.evaluation.mmd import blocks
from t2i.evaluation.paired import PairedDifference, paired_difference
from t2i.evaluation.zero_shot import unit

TAU = 0.1
EPSILON = 1e-14
"""Keeps the penalty finite for exact copies, as in torchmetrics."""
_ZERO = 1e-8
"""A FID below is rounding, which the penalty must not blow up; as in torchmetrics."""


def nearest_training(generated: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of `generated` (N, D) the row of the nearest of `train` (M, D), int64 (N,), and their cosine distance
    1 - |cos|, float64 (N,), 0 to 1. UserError for non-finite or zero features, or different widths.
    """
    first, second = unit("generated", generated), unit("training", train)
    checks.same_width("generated", first, "training", second)
    rows, distances = np.empty(len(first), np.int64), np.empty(len(first))
    for part in blocks(len(first)):
        cosines = np.abs(first[part] @ second.T)
        rows[part] = cosines.argmax(axis=1)
        distances[part] = np.clip(1.0 - cosines.max(axis=1), 0.0, 1.0)
    return rows, distances


def mifid(generated: np.ndarray, reference: np.ndarray, train: np.ndarray, tau: float = TAU) -> float:
    """MIFID of `generated` (N, D): FID against `reference` (M, D), penalised for closeness to `train` (T, D)."""
    return _penalised(fid.frechet_distance(generated, reference), nearest_training(generated, train)[1], tau)


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`memorisation_distance`: m, with the distance of each sample; and `mifid`."""
    assert inputs.reference is not None and inputs.train is not None
    _, distances = nearest_training(inputs.generated, inputs.train)
    first, second = checks.feature_pair(inputs.generated, inputs.reference)
    real = Gaussian.of(second)

    def without(part: np.ndarray) -> float:
        rest = distance(Gaussian.of(np.delete(first, part, axis=0)), real)
        return _penalised(rest, np.delete(distances, part), TAU)

    value = _penalised(distance(Gaussian.of(first), real), distances, TAU)
    interval: Interval = jackknife(value, len(first), without, inputs.seed, fid.GROUPS)
    return {
        "memorisation_distance": Measurement(bootstrap_mean(distances, inputs.seed, inputs.replicates), distances),
        "mifid": Measurement(interval),
    }


def difference(base: Inputs, tuned: Inputs) -> dict[str, PairedDifference]:
    """Mean distance to the nearest training image of `tuned` minus that of `base`."""
    assert base.train is not None
    first, second = (nearest_training(inputs.generated, base.train)[1] for inputs in (base, tuned))
    return {"memorisation_distance": paired_difference(first, second, base.seed, base.replicates)}


def _penalised(value: float, distances: np.ndarray, tau: float) -> float:
    mean = float(distances.mean())
    if mean >= tau:
        return value
    return value / (mean + EPSILON) if value > _ZERO else 0.0
