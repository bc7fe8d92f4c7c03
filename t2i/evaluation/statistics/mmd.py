"""Squared maximum mean discrepancy of two sets under a kernel (Gretton et al. 2012, JMLR 13, eq. 3 and 5).

    unbiased: mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)
    biased:   the same with i = j taken in

Only sums of rows of the kernel matrices are needed, so of an N x N matrix one tile is held, for intervals and tests too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from t2i.evaluation.statistics.terms import Terms, left_one_out

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Rows (n, D) and (m, D) to the matrix (n, m) of their kernel values."""

BLOCK = 1024
"""Rows, and columns, of a matrix of all pairs that are in memory at once: 8 MiB, however many samples there are."""


def blocks(length: int, start: int = 0) -> list[slice]:
    """`range(start, length)` in portions of BLOCK."""
    return [slice(begin, min(begin + BLOCK, length)) for begin in range(start, length, BLOCK)]


def tiles(rows: int, columns: int | None = None) -> Iterator[tuple[slice, slice]]:
    """Portions of a matrix of pairs, row by row; without `columns` of a symmetric one, its diagonal and what is right of it."""
    for band in blocks(rows):
        rest = blocks(rows, band.start) if columns is None else blocks(columns)
        yield from ((band, part) for part in rest)


def sums_across(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over j of k(x_i, y_j), float64 (N, 2), and over i, float64 (M, 2); the columns are the halves of the other set.

    Every pair is computed once.
    """
    forth, back = np.zeros((len(x), 2)), np.zeros((len(y), 2))
    of_x, of_y = halves(len(x)), halves(len(y))
    for rows, columns in tiles(len(x), len(y)):
        part = kernel(x[rows], y[columns])
        forth[rows] += part @ of_y[columns]
        back[columns] += part.T @ of_x[rows]
    return forth, back


def sums_within(kernel: Kernel, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums over j != i of k(x_i, x_j), float64 (N, 2), a column for either half of the j; and k(x_i, x_i), float64
    (N,). Every pair is computed once.
    """
    sums, own, half = np.zeros((len(x), 2)), np.empty(len(x)), halves(len(x))
    for rows, columns in tiles(len(x)):
        part = kernel(x[rows], x[columns])
        if rows == columns:
            own[rows] = np.diagonal(part)
            np.fill_diagonal(part, 0.0)
        else:
            sums[columns] += part.T @ half[rows]
        sums[rows] += part @ half[columns]
    return sums, own


def halves(count: int) -> np.ndarray:
    """float64 (count, 2): 1 in column 0 for every other row, in column 1 for the rest."""
    return np.eye(2)[np.arange(count) % 2]


@dataclass(frozen=True)
class Discrepancy:
    """The sums that the value and its variance are made of; columns are halves of the samples that are summed over."""

    within: np.ndarray
    """float64 (N, 2): for each x_i over the other x_j; so too `real`, (M, 2), for each y_j."""
    own: np.ndarray
    """float64 (N,): k(x_i, x_i); so too `real_own`, (M,)."""
    real: np.ndarray
    real_own: np.ndarray
    across: np.ndarray
    """float64 (N, 2): for each x_i over y; so too `back`, (M, 2), for each y_j over x."""
    back: np.ndarray

    @classmethod
    def of(cls, kernel: Kernel, x: np.ndarray, y: np.ndarray) -> "Discrepancy":
        """Of checked float64 sets x (N, D) and y (M, D)."""
        return cls(*sums_within(kernel, x), *sums_within(kernel, y), *sums_across(kernel, x, y))

    @property
    def value(self) -> float:
        """Squared discrepancy, unbiased: it may be negative."""
        n, m = len(self.own), len(self.real_own)
        within = self.within.sum() / (n * (n - 1)) + self.real.sum() / (m * (m - 1))
        return float(within - 2.0 * self.across.sum() / (n * m))

    @property
    def biased(self) -> float:
        """The same with pairs of a sample with itself taken in: never negative."""
        n, m = len(self.own), len(self.real_own)
        within = (self.within.sum() + self.own.sum()) / n**2 + (self.real.sum() + self.real_own.sum()) / m**2
        return float(within - 2.0 * self.across.sum() / (n * m))

    def terms(self) -> Terms:
        """The unbiased value with its contributions: twice the mean difference of a sample's kernel values within its own
        set and across, the first-order part of a U-statistic (Hoeffding 1948, Annals of Mathematical Statistics 19).

        Without contributions for fewer than three samples on a side.
        """
        scale = float(self.real_own.mean())
        if min(len(self.own), len(self.real_own)) < 3:
            return Terms(self.value, scale)
        generated, noise = _contributions(self.within, self.across, len(self.back))
        reference, reference_noise = _contributions(self.real, self.back, len(self.across))
        return Terms(
            self.value,
            scale,
            generated=generated,
            noise=noise,
            reference=reference,
            reference_noise=reference_noise,
        )

    def biased_terms(self) -> Terms:
        """The biased value with its contributions, the reference as it is."""
        n = len(self.own)
        if n < 3:
            return Terms(self.biased, lowest=0.0)
        total, across = self.within.sum() + self.own.sum(), self.across.sum(axis=1)
        rest = (total - 2.0 * self.within.sum(axis=1) - self.own) / (n - 1) ** 2
        return Terms(
            self.biased,
            lowest=0.0,
            generated=left_one_out(rest - 2.0 * (across.sum() - across) / ((n - 1) * len(self.real_own))),
        )


def _contributions(within: np.ndarray, across: np.ndarray, others: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the samples of one side, from their sums (n, 2) within it and across to `others`: contributions float64 (n,), and
    what of them is noise of the other samples: half the difference of what the halves say.
    """
    count = len(within)
    own_half = halves(count)
    mine = within / np.maximum(own_half.sum(axis=0) - own_half, 1.0)
    theirs = across / halves(others).sum(axis=0)
    factor = 2.0 * (count - 1) / (count - 2)
    whole = factor * within.sum(axis=1) / (count - 1) - 2.0 * across.sum(axis=1) / others
    apart = factor * (mine[:, 0] - mine[:, 1]) / 2.0 - (theirs[:, 0] - theirs[:, 1])
    return whole - whole.mean(), apart - apart.mean()
