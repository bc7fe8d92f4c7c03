"""Kernel distance: unbiased MMD^2 with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018, arXiv:1801.01401, sec. 4).

    KID = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

Over all pairs at once: no subsets, so no choice of subset size and no sampling noise of the metric itself. The
estimate is unbiased at any N, hence it may be negative when the sets are alike, and is not clamped.
"""

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.intervals import Interval, centred, resample_counts
from t2i.evaluation.measurement import Inputs, Measurement

_BLOCK = 1024
"""Rows of the kernel matrix held in memory at once."""


def kid(features: np.ndarray, reference: np.ndarray) -> float:
    """KID of `features` (N, D) against `reference` (M, D), in float64.

    Raises UserError for fewer than two samples, non-finite values or different widths.
    """
    generated, real = checks.feature_pair(features, reference)
    return float(_weighted(generated, real, np.ones((1, len(generated))))[0])


def kid_interval(features: np.ndarray, reference: np.ndarray, seed: int, replicates: int = 2000) -> Interval:
    """KID with a bootstrap interval over the generated images, the reference fixed.

    A resample pairs an image with its own copy, which biases it upwards; the interval is shifted by the bootstrap's
    estimate of that bias and lies around the point estimate (`intervals.centred`).
    """
    generated, real = checks.feature_pair(features, reference)
    counts = resample_counts(len(generated), seed, replicates).astype(np.float64)
    values = _weighted(generated, real, np.vstack([np.ones(len(generated)), counts]))
    return centred(float(values[0]), values[1:])


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`kid` with its interval."""
    assert inputs.reference is not None
    return {"kid": Measurement(kid_interval(inputs.generated, inputs.reference, inputs.seed, inputs.replicates))}


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def _weighted(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """KID (R,) of each resample of x, given by how often each row counts (R, N)."""
    within = np.zeros(len(counts))
    across = np.zeros(len(counts))
    real = 0.0
    for rows in _blocks(len(x)):
        kernel = _kernel(x[rows], x)
        part = counts[:, rows]
        within += ((part @ kernel) * counts).sum(axis=1) - part @ np.diagonal(kernel, offset=rows.start)
        across += part @ _kernel(x[rows], y).mean(axis=1)
    for rows in _blocks(len(y)):
        kernel = _kernel(y[rows], y)
        real += kernel.sum() - np.diagonal(kernel, offset=rows.start).sum()
    pairs = [len(z) * (len(z) - 1) for z in (x, y)]
    return within / pairs[0] + real / pairs[1] - 2.0 * across / len(x)


def _blocks(length: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, length)) for start in range(0, length, _BLOCK)]
