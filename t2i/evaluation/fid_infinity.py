"""FID-infinity: FID regressed on 1/N, read off at 1/N = 0 (Chong & Forsyth 2020, arXiv:1911.07023, sec. 3).

Fifteen sizes evenly spaced from N / 10 to N, as the authors go from 5,000 to 50,000, the first rows of one shuffled
order each (the authors draw each size anew). The bias is linear in 1/N only while N is well above the width of the
features: below, the value is an extrapolation of a curve by a line, better than FID and still too high. May be negative.

No size needs a matrix root of its own: `t2i/evaluation/fid_pool.py`.
"""

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.fid_pool import Pool
from t2i.evaluation.gaussian import Gaussian
from t2i.evaluation.intervals import Interval, jackknife
from t2i.evaluation.measurement import Inputs, Measurement
from t2i.randomness import generator

POINTS = 15
LEAST = 30
"""Fewest samples: the smallest size is then three."""
GROUPS = 10
"""Replicates of the jackknife, fifteen values each."""


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


def fid_infinity_interval(generated: np.ndarray, reference: np.ndarray, seed: int) -> Interval:
    """FID-infinity with a jackknife interval over the generated images, the reference fixed."""
    first, second = _checked(generated, reference)
    pool, order = Pool.of(first, Gaussian.of(second)), _order(len(first), seed)

    def without(part: np.ndarray) -> float:
        return _intercept(*_points(pool, order[~np.isin(order, part)], POINTS))

    return jackknife(_intercept(*_points(pool, order, POINTS)), len(first), without, seed, GROUPS)


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`fid_infinity` with its interval."""
    assert inputs.reference is not None
    return {"fid_infinity": Measurement(fid_infinity_interval(inputs.generated, inputs.reference, inputs.seed))}


def _checked(generated: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = checks.feature_pair(generated, reference)
    checks.enough("generated", len(first), LEAST)
    return first, second


def _order(count: int, seed: int) -> np.ndarray:
    return generator("evaluation", "fid infinity", seed, count).permutation(count)


def _points(pool: Pool, order: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.linspace(max(2, len(order) // 10), len(order), points).astype(np.int64)
    return sizes, pool.prefixes(order, sizes)


def _intercept(sizes: np.ndarray, values: np.ndarray) -> float:
    """Of the least-squares line through (1 / size, value)."""
    return float(np.polynomial.Polynomial.fit(1.0 / sizes, values, 1).convert().coef[0])
