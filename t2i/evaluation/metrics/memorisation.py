"""Does a model repeat its training images? Nearest training neighbours, and MIFID (Bai et al. 2021, arXiv:2106.03062,
sec. 3.2).

    m = mean_i min_j (1 - |cos(g_i, t_j)|),   MIFID = FID / m if m < tau, else FID

over generated features g and training features t. tau = 0.1 for Inception features, as in the paper's competition;
where ordinary pictures of one domain are closer than that to each other, MIFID is only comparable with itself.
"""

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.metrics import fid
from t2i.evaluation.metrics.measurement import REFERENCE, Inputs, Measurement, between, measured
from t2i.evaluation.metrics.zero_shot import unit
from t2i.evaluation.statistics.frechet import distances_without
from t2i.evaluation.statistics.gaussian import Gaussian, distance
from t2i.evaluation.statistics.mmd import tiles
from t2i.evaluation.statistics.terms import Terms, interval, left_one_out, of_mean

TAU = 0.1
CLOSEST = 1e-6
"""Mean distance below which the penalty grows no further: features are float32, so nearer is rounding. (torchmetrics adds 1e-14
instead, which makes 1e13 of exact copies.)"""
_ZERO = 1e-8
"""A FID below is rounding, which the penalty must not blow up; as in torchmetrics."""


def nearest_training(generated: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of `generated` (N, D) the row of the nearest of `train` (M, D), int64 (N,), and their cosine distance
    1 - |cos|, float64 (N,), 0 to 1. UserError for non-finite or zero features, or different widths.
    """
    first, second = unit("generated", generated), unit("training", train)
    checks.same_width("generated", first, "training", second)
    rows, nearest = np.zeros(len(first), np.int64), np.full(len(first), -1.0)
    for part, others in tiles(len(first), len(second)):
        cosines = np.abs(first[part] @ second[others].T)
        closer = cosines.max(axis=1) > nearest[part]
        rows[part][closer] = others.start + cosines[closer].argmax(axis=1)
        nearest[part] = np.maximum(nearest[part], cosines.max(axis=1))
    return rows, np.clip(1.0 - nearest, 0.0, 1.0)


def mifid(generated: np.ndarray, reference: np.ndarray, train: np.ndarray, tau: float = TAU) -> float:
    """MIFID of `generated` (N, D): FID against `reference` (M, D), penalised for closeness to `train` (T, D)."""
    distances = nearest_training(generated, train)[1]
    return float(_penalised(fid.frechet_distance(generated, reference), distances.mean(), tau))


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`memorisation_distance`: m, with the distance of each sample; and `mifid`, whose change has no test."""
    assert inputs.reference is not None and inputs.train is not None
    _, distances = nearest_training(inputs.generated, inputs.train)
    first, second = checks.feature_pair(inputs.generated, inputs.reference)
    value = float(_penalised(distance(Gaussian.of(first), Gaussian.of(second)), distances.mean(), TAU))
    terms = Terms(value, lowest=0.0)
    if min(len(first), len(second)) > 2:
        rest = (distances.sum() - distances) / (len(distances) - 1)
        without = _penalised(distances_without(first, second), rest, TAU)
        terms = Terms(value, lowest=0.0, generated=left_one_out(without))
    return {
        "memorisation_distance": measured(of_mean(distances, 0.0, 1.0), inputs.units, distances),
        "mifid": Measurement(interval(terms, inputs.units, world=False), scope=REFERENCE),
    }


difference = between(measure)


def _penalised(value: float | np.ndarray, mean: float | np.ndarray, tau: float) -> np.ndarray:
    """FID divided by the mean distance where that is below tau; a FID that is rounding stays 0."""
    penalised = np.where(np.asarray(value) > _ZERO, np.asarray(value) / np.maximum(mean, CLOSEST), 0.0)
    return np.where(np.asarray(mean) < tau, penalised, value)
