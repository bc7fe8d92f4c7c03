"""KID: unbiased squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018, arXiv:1801.01401, sec. 4).

Over all pairs at once: no subsets, so no choice of subset size and no sampling noise of the metric itself. The
estimate is unbiased at any N, hence it may be negative when the sets are alike, and is not clamped. Papers often state
the mean over 100 random subsets of 1,000: `kernel_distance_subsets`, the same quantity with more noise.
"""

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.statistics import mmd
from t2i.evaluation.statistics.forecast import foretell
from t2i.randomness import generator


def kernel_distance(x: np.ndarray, y: np.ndarray, biased: bool = False) -> float:
    """KID of `x` (N, D) and `y` (M, D), in float64; `biased`: pairs of a sample with itself are taken in.

    Raises UserError for fewer than two samples, non-finite values or different widths.
    """
    found = mmd.Discrepancy.of(polynomial, *checks.feature_pair(x, y))
    return found.biased if biased else found.value


def subset_rows(samples: int, subsets: int, size: int, seed: int) -> np.ndarray:
    """int64 (subsets, size): rows of random subsets, each without repetition; UserError when `size` does not fit."""
    if not 2 <= size <= samples:
        raise UserError(f"subsets of {size} from {samples} samples: expected 2 to {samples}")
    rng = generator("evaluation", "kid subsets", seed, samples)
    return np.stack([rng.permutation(samples)[:size] for _ in range(subsets)])


def kernel_distance_subsets(x: np.ndarray, y: np.ndarray, x_rows: np.ndarray, y_rows: np.ndarray) -> np.ndarray:
    """float64 (S,): KID of each pair of subsets, given by rows of `x` (N, D) and of `y` (M, D): int (S, size) each.

    The kernel matrices are computed once; a subset is a row of an indicator matrix, so all sums are three matrix
    products instead of S times three kernel matrices.
    """
    first, second = checks.feature_pair(x, y)
    in_x, in_y = _indicators(x_rows, len(first)), _indicators(y_rows, len(second))
    sizes = x_rows.shape[1], y_rows.shape[1]
    return (
        _within(first, in_x) / (sizes[0] * (sizes[0] - 1))
        + _within(second, in_y) / (sizes[1] * (sizes[1] - 1))
        - 2.0 * _across(first, in_x, second, in_y) / (sizes[0] * sizes[1])
    )


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`kid` with its interval."""
    assert inputs.reference is not None
    x, y = checks.feature_pair(inputs.generated, inputs.reference)
    foretell("KID", len(x), len(y), lambda rows: mmd.Discrepancy.of(polynomial, x[rows], y[rows]))
    found = mmd.Discrepancy.of(polynomial, x, y)
    return {"kid": measured(found.terms(), inputs.units)}


difference = between(measure)


def polynomial(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x.y / D + 1)^3, float64 (n, m)."""
    values: np.ndarray = x @ y.T
    values /= x.shape[1]
    values += 1.0
    values *= np.square(values)
    return values


def _indicators(rows: np.ndarray, samples: int) -> np.ndarray:
    """float64 (S, samples): 1 where the subset holds the sample."""
    indicators = np.zeros((len(rows), samples))
    np.put_along_axis(indicators, rows, 1.0, axis=1)
    return indicators


def _within(x: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """float64 (S,): sum of kernel values over the ordered pairs of different samples of each subset."""
    sums = np.zeros(len(chosen))
    for rows, columns in mmd.tiles(len(x)):
        part = polynomial(x[rows], x[columns])
        if rows == columns:
            np.fill_diagonal(part, 0.0)
        pairs = 1.0 if rows == columns else 2.0
        sums += pairs * _picked(part, chosen[:, rows], chosen[:, columns])
    return sums


def _across(x: np.ndarray, in_x: np.ndarray, y: np.ndarray, in_y: np.ndarray) -> np.ndarray:
    sums = np.zeros(len(in_x))
    for rows, columns in mmd.tiles(len(x), len(y)):
        sums += _picked(polynomial(x[rows], y[columns]), in_x[:, rows], in_y[:, columns])
    return sums


def _picked(kernel: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """float64 (S,): sum of the kernel values (n, m) of each subset's rows (S, n) and columns (S, m)."""
    return np.einsum("sj,sj->s", rows @ kernel, columns)
