"""FID-infinity: FID regressed on 1/N, read off at 1/N = 0 (Chong & Forsyth 2020, arXiv:1911.07023, sec. 3).

Fifteen sizes evenly spaced from N / 10 to N, as the authors go from 5,000 to 50,000, the first rows of one shuffled
order each (the authors draw each size anew). The bias is linear in 1/N only while N is well above the width of the
features: below, the value is an extrapolation of a curve by a line, better than FID and still too high. May be negative.

No size needs a matrix root of its own: `t2i/evaluation/metrics/fid_pool.py`.
"""

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.metrics.fid_pool import Pool
from t2i.evaluation.metrics.measurement import REFERENCE, Inputs, Measurement
from t2i.evaluation.statistics.gaussian import Gaussian
from t2i.evaluation.statistics.terms import Terms, interval, left_one_out
from t2i.progress import progress
from t2i.randomness import generator

POINTS = 15
LEAST = 30
"""Fewest samples: the smallest size is then three."""


def fid_points(
    generated: np.ndarray, reference: np.ndarray, seed: int = 0, points: int = POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes int64 (points,) and the FID at each, float64 (points,), of `generated` (N, D) for `reference` (M, D).

    Raises UserError for fewer than 30 generated samples, non-finite values or different widths.
    """
    first, second = _checked(generated, reference)
    return _points(Pool.of(first, Gaussian.of(second)), _order(len(first), seed), points)


def fid_infinity(generated: np.ndarray, reference: np.ndarray, seed: int = 0, points: int = POINTS) -> float:
    """FID of `generated` (N, D) for `reference` (M, D) extrapolated to infinitely many generated samples."""
    return _intercept(*fid_points(generated, reference, seed, points))


def fid_infinity_terms(generated: np.ndarray, reference: np.ndarray, seed: int) -> Terms:
    """FID-infinity with what each generated image contributes: the intercept is a weighted sum of the fifteen FIDs, and an
    image contributes to those whose set it is in.
    """
    first, second = _checked(generated, reference)
    pool, order = Pool.of(first, Gaussian.of(second)), _order(len(first), seed)
    sizes, values = _points(pool, order, POINTS)
    weights = np.linalg.pinv(np.stack([np.ones(len(sizes)), 1.0 / sizes], axis=1))[0]
    own = np.zeros(len(first))
    for size, weight in zip(progress(sizes, "FID-infinity", "size"), weights, strict=True):
        picked = order[:size]
        own[picked] += weight * left_one_out(pool.without_each(picked)) * len(first) / size
    return Terms(_intercept(sizes, values), generated=own)


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`fid_infinity` with its interval; its change has no test."""
    assert inputs.reference is not None
    found = fid_infinity_terms(inputs.generated, inputs.reference, inputs.seed)
    return {"fid_infinity": Measurement(interval(found, inputs.units, world=False), scope=REFERENCE)}


def _checked(generated: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = checks.feature_pair(generated, reference)
    checks.enough("generated", len(first), LEAST)
    return first, second


def _order(count: int, seed: int) -> np.ndarray:
    return generator("evaluation", "fid infinity", seed, count).permutation(count)


def _points(pool: Pool, order: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.linspace(max(3, len(order) // 10), len(order), points).astype(np.int64)
    return sizes, pool.prefixes(order, sizes)


def _intercept(sizes: np.ndarray, values: np.ndarray) -> float:
    """Of the least-squares line through (1 / size, value)."""
    return float(np.polynomial.Polynomial.fit(1.0 / sizes, values, 1).convert().coef[0])
