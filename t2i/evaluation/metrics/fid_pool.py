"""FID of growing subsets of the same features against one reference: what they share is computed once.

With F the reference's factor (S = F'F) and X the rows around the reference's mean, the cross-Gram C = X F' is computed once.
A subset that is smaller than the factor takes its rows and columns of the Gram matrix K = C C', centres them, and takes
eigenvalues: for N <= D nothing has the width D. A larger one takes those of C'C, to which each size adds its fresh rows.

Squared, singular values below 1e-8 of the largest are noise of that size: a value is exact to about 1e-7 of the traces,
enough for resampling; a metric itself comes from `gaussian.distance`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2i.evaluation.statistics.frechet import without_each
from t2i.evaluation.statistics.gaussian import DDOF, Gaussian
from t2i.evaluation.statistics.symmetric import eigenvalues


@dataclass(frozen=True)
class Pool:
    """Rows around the reference's mean, and what every subset needs of them."""

    rows: np.ndarray
    """float64 (P, D): distances do not change with the origin, and here the sums of squares lose no digits."""
    squares: np.ndarray
    """float64 (P,): squared lengths."""
    cross: np.ndarray
    """float64 (P, r): rows times the reference's factor."""
    real_trace: float

    @classmethod
    def of(cls, features: np.ndarray, real: Gaussian) -> "Pool":
        """Of checked features float64 (P, D)."""
        rows = features - real.mean
        cross = _times_factor(rows, real)
        return cls(rows, np.square(rows).sum(axis=1), cross, real.trace)

    def prefixes(self, order: np.ndarray, sizes: Sequence[int] | np.ndarray) -> np.ndarray:
        """FID of the first `sizes` rows of `order` (n,), sizes increasing; float64 (len(sizes),)."""
        width = self.cross.shape[1]
        # Up to the factor's width the Gram matrix of the rows is the smaller one: one of the largest such size serves all.
        small = int(max((size for size in sizes if size < width), default=0))
        smallest = self.cross[order[:small]]
        gram = smallest @ smallest.T
        square, picked, total = np.zeros((width, width)), np.empty((width, width)), np.zeros(width)
        mean, squares, start, values = np.zeros(self.rows.shape[1]), 0.0, 0, []
        for size in sizes:
            fresh = order[start:size]
            mean += self.rows[fresh].sum(axis=0)
            squares += float(self.squares[fresh].sum())
            if size <= small:
                centred = _centred(gram[:size, :size])
            else:
                part = self.cross[order[start if start > small else 0 : size]]
                square += part.T @ part
                total += part.sum(axis=0)
                centred = np.subtract(square, np.multiply.outer(total, total / size, out=picked), out=picked)
            values.append(self._value(centred, mean / size, squares, float(size)))
            start = int(size)
        return np.array(values)

    def without_each(self, picked: np.ndarray) -> np.ndarray:
        """FID of the picked rows, int (n,), without each of them, float64 (n,)."""
        rows, cross = self.rows[picked], self.cross[picked]
        offset = rows.mean(axis=0)
        around = cross - cross.mean(axis=0)
        wide = len(picked) < cross.shape[1]
        values, vectors = np.linalg.eigh(around @ around.T if wide else around.T @ around)
        kept = values > max(1e-14 * values[-1], np.finfo(np.float64).tiny)
        values, vectors = values[kept], vectors[:, kept]
        squares = np.square(vectors) * values if wide else np.square(around @ vectors)
        return without_each(rows - offset, offset, self.real_trace, values, squares)

    def _value(self, square: np.ndarray, mean: np.ndarray, squares: float, size: float) -> float:
        """From the centred Gram matrix of the subset's cross-Gram, before division by size - 1."""
        offset = float(mean @ mean)
        trace = (float(squares) - size * offset) / (size - DDOF)
        norm = np.sqrt(np.clip(eigenvalues(square), 0.0, None) / (size - DDOF)).sum()
        return offset + trace + self.real_trace - 2.0 * float(norm)


def _centred(gram: np.ndarray) -> np.ndarray:
    """Gram matrix (n, n) of the rows around their own mean, from that around any point."""
    level = gram.mean(axis=0)
    return gram - (level[:, None] + level[None] - level.mean())


def _times_factor(rows: np.ndarray, real: Gaussian) -> np.ndarray:
    """rows (P, D) times the transposed factor (r, D); half the work where that is a triangle."""
    from scipy.linalg import blas

    if real.triangle is None:
        return np.asarray(rows @ real.factor.T)
    # The transposes are LAPACK's order of the same memory: factor times rows', and nothing is copied.
    return np.asarray(blas.dtrmm(1.0, real.triangle, rows.T)).T
