"""Squared maximum mean discrepancy of two sets under a kernel (Gretton et al. 2012, JMLR 13, eq. 3 and 5).

    unbiased: mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)
    biased:   the same with i = j taken in

Only sums of rows of the kernel matrices are needed, so no N x N matrix is held, for intervals and tests neither.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from t2i.evaluation.intervals import Interval, jackknife_of
from t2i.evaluation.paired import PairedDifference, swap_test

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Rows (n, D) and (m, D) to the matrix (n, m) of their kernel values."""

BLOCK = 1024
"""Rows of a kernel matrix held in memory at once."""


def blocks(length: int) -> list[slice]:
    """`range(length)` in portions of BLOCK."""
    return [slice(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]


def row_sums(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float64 (N,): sum over j of k(x_i, y_j)."""
    return np.concatenate([kernel(x[rows], y).sum(axis=1) for rows in blocks(len(x))])


def sums_both_ways(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over j of k(x_i, y_j), float64 (N,), and of k(y_i, x_j), float64 (M,). Every pair is computed once."""
    forth, back = np.empty(len(x)), np.zeros(len(y))
    for rows in blocks(len(x)):
        part = kernel(x[rows], y)
        forth[rows] = part.sum(axis=1)
        back += part.sum(axis=0)
    return forth, back


def sums_within(kernel: Kernel, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 (N,) each: the sum over j != i of k(x_i, x_j), and k(x_i, x_i). Every pair is computed once."""
    sums, own = np.zeros(len(x)), np.empty(len(x))
    for rows in blocks(len(x)):
        square, rest = kernel(x[rows], x[rows]), kernel(x[rows], x[rows.stop :])
        own[rows] = np.diagonal(square)
        np.fill_diagonal(square, 0.0)
        sums[rows] += square.sum(axis=1) + rest.sum(axis=1)
        sums[rows.stop :] += rest.sum(axis=0)
    return sums, own


@dataclass(frozen=True)
class Discrepancy:
    """The sums that the value and its interval are made of."""

    within: np.ndarray
    """float64 (N,): for each x_i the sum over the other (biased: all) x_j."""
    own: np.ndarray
    """float64 (N,): k(x_i, x_i)."""
    across: np.ndarray
    """float64 (N,): for each x_i the mean over y."""
    real: float
    """Mean over pairs of y."""
    biased: bool

    @classmethod
    def of(cls, kernel: Kernel, x: np.ndarray, y: np.ndarray, biased: bool) -> "Discrepancy":
        """Of checked float64 sets x (N, D) and y (M, D)."""
        (within, own), (real, real_own) = sums_within(kernel, x), sums_within(kernel, y)
        if biased:
            within, real = within + own, real + real_own
        across = row_sums(kernel, x, y) / len(y)
        return cls(within, own, across, float(real.sum()) / pairs(len(y), biased), biased)

    @property
    def value(self) -> float:
        """Squared discrepancy; the unbiased one may be negative."""
        count = len(self.within)
        return float(self.within.sum() / pairs(count, self.biased) + self.real - 2.0 * self.across.mean())

    def interval(self) -> Interval:
        """The value with its leave-one-out jackknife interval over x, y fixed; unbounded for two samples."""
        count = len(self.within)
        if count < 3:
            return Interval(self.value, -np.inf, np.inf)
        rest = self.within.sum() - 2.0 * self.within + (self.own if self.biased else 0.0)
        across = (self.across.sum() - self.across) / (count - 1)
        return jackknife_of(self.value, rest / pairs(count - 1, self.biased) + self.real - 2.0 * across)


def paired_test(
    kernel: Kernel, a: np.ndarray, b: np.ndarray, y: np.ndarray, biased: bool, seed: int, replicates: int
) -> PairedDifference:
    """Discrepancy of b (N, D) from y minus that of a (N, D), pair i exchanged by the toss of a coin.

    The difference is linear in the tosses: in the kernel's space write b_i = u_i + s_i v_i and a_i = u_i - s_i v_i
    with s_i = 1, and -1 when exchanged; then |sum b|^2 - |sum a|^2 = 4 sum_ij s_i <v_i, u_j>. So every pair has one
    number, and a replicate is a sum with signs.
    """
    count = len(a)
    (first, first_own), (second, second_own) = sums_within(kernel, a), sums_within(kernel, b)
    forth, back = sums_both_ways(kernel, b, a)
    within = second - first + forth - back  # a pair with itself is in both of the last two, and cancels
    if biased:
        within += second_own - first_own
    across = (row_sums(kernel, b, y) - row_sums(kernel, a, y)) / len(y)
    parts = within / pairs(count, biased) - 2.0 * across / count
    return swap_test(float(parts.sum()), lambda tosses: (1.0 - 2.0 * tosses) @ parts, count, seed, replicates)


def pairs(count: int, biased: bool) -> int:
    """Ordered pairs of `count` samples, with themselves (biased) or without."""
    return count * count if biased else count * (count - 1)
