"""Balls around samples that reach their k-th nearest neighbour: which points they hold, and what changes without a sample.

Without sample j its own ball is gone, and the balls of those that had j among their k nearest neighbours reach one neighbour
further. So what any count becomes without each sample follows exactly from the distances to the k-th and to the (k+1)-th
neighbour, in one pass.
"""

from dataclasses import dataclass

import numpy as np

from t2i.evaluation.statistics.mmd import blocks, tiles

_SLACK = 1e-12
"""Squared distances come from inner products; equal ones agree to this share of the largest squared length."""
CELLS = 1 << 20
"""Pairs that are looked at together."""


@dataclass(frozen=True)
class Balls:
    """One around each of B samples."""

    centres: np.ndarray
    """float64 (B, D)."""
    reach: np.ndarray
    """float64 (B,): squared distance to the k-th nearest other sample."""
    further: np.ndarray
    """The same of the next one; infinite where there is none."""
    nearest: np.ndarray
    """int64 (B, k): the k nearest other samples."""

    def of_neighbours(self, values: np.ndarray) -> np.ndarray:
        """float64 (B,): for each sample the sum of `values` (B,) over the balls that reach further without it."""
        count, k = self.nearest.shape
        return np.bincount(self.nearest.ravel(), np.repeat(values.astype(np.float64), k), minlength=count)


@dataclass(frozen=True)
class Held:
    """Which of P points B balls hold."""

    counts: np.ndarray
    """int64 (P,): balls that hold the point."""
    inside: np.ndarray
    """int64 (B,): points in the ball."""
    grown: np.ndarray
    """int64 (B,): points in it when it reaches one neighbour further."""
    alone: np.ndarray
    """int64 (P,): balls that hold this point and no other."""
    lost: np.ndarray
    """int64 (B,): held points that no ball holds without this one's sample, minus those that one then holds in addition."""


def balls(samples: np.ndarray, k: int) -> Balls:
    """Of `samples` float64 (B, D), B > k; ties of the k-th neighbour fall to any. Every pair is computed once."""
    count, lengths = len(samples), squares_of(samples)
    squares, names = np.full((count, k + 1), np.inf), np.zeros((count, k + 1), np.int64)
    for rows, columns in tiles(count):
        found = squared_distances(samples[rows], samples[columns], lengths[rows], lengths[columns])
        if rows == columns:
            np.fill_diagonal(found, np.inf)  # a sample is not its own neighbour
        else:
            _nearer(squares[columns], names[columns], found.T, rows.start)
        _nearer(squares[rows], names[rows], found, columns.start)
    order = np.argsort(squares, axis=1, kind="stable")
    squares, names = np.take_along_axis(squares, order, 1), np.take_along_axis(names, order, 1)
    return Balls(samples, squares[:, k - 1], squares[:, k], names[:, :k])


def _nearer(squares: np.ndarray, names: np.ndarray, found: np.ndarray, first: int) -> None:
    """Takes what is smaller than the nearest so far (n, k + 1), in place, from `found` (n, m), whose columns begin at `first`."""
    changed = np.flatnonzero(found.min(axis=1) < squares.max(axis=1))
    values = np.hstack([squares[changed], found[changed]])
    columns = np.broadcast_to(np.arange(first, first + found.shape[1]), found[changed].shape)
    places = np.argpartition(values, squares.shape[1] - 1, axis=1)[:, : squares.shape[1]]
    squares[changed] = np.take_along_axis(values, places, 1)
    names[changed] = np.take_along_axis(np.hstack([names[changed], columns]), places, 1)


def held(own: Balls, points: np.ndarray, slack: float, *closed: bool) -> list[Held]:
    """What `own` hold of `points` float64 (P, D), for each of `closed`: whether a distance equal to the radius, to `slack`, is
    inside. Every distance is computed once.

    Memory: portions of CELLS pairs, so it does not grow with the product of both.
    """
    tallies = [_Tally(own, len(points), slack, each) for each in closed]
    lengths, point_lengths = squares_of(own.centres), squares_of(points)
    width = max(1, CELLS // len(own.centres))
    for start in range(0, len(points), width):
        columns = slice(start, min(start + width, len(points)))
        for rows in blocks(len(own.centres)):
            squares = squared_distances(own.centres[rows], points[columns], lengths[rows], point_lengths[columns])
            for tally in tallies:
                tally.look(rows, squares)
        for tally in tallies:
            tally.count(columns)
    return [tally.held() for tally in tallies]


class _Tally:
    """Which balls hold the points that are looked at, and what all of them add up to."""

    def __init__(self, own: Balls, points: int, slack: float, closed: bool) -> None:
        from scipy import sparse

        self._sparse, self._own = sparse, own
        count, k = own.nearest.shape
        self._within: np.ufunc = np.less_equal if closed else np.less
        self._edge = slack if closed else -slack
        # From a ball to the samples without which it reaches further.
        self._further = sparse.csr_matrix(
            (np.ones(count * k, np.float32), (own.nearest.ravel(), np.repeat(np.arange(count), k))),
            shape=(count, count),
        )
        self._counts = np.zeros(points, np.int64)
        self._inside, self._grown, self._lost, self._holder = (np.zeros(count, np.int64) for _ in range(4))
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def look(self, rows: slice, squares: np.ndarray) -> None:
        """Squared distances (n, points) of the centres `rows`, in their order, to the points of one portion."""
        reach, further = self._own.reach[rows, None], self._own.further[rows, None]
        self._parts.append((self._within(squares, reach + self._edge), self._within(squares, further + self._edge)))

    def count(self, columns: slice) -> None:
        """All balls were looked at for the points `columns`."""
        holds, would = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        self._parts = []
        self._counts[columns] = within = holds.sum(axis=0)
        self._inside += holds.sum(axis=1)
        self._grown += would.sum(axis=1)
        self._holder += holds @ np.arange(columns.start, columns.stop)
        few = np.flatnonzero(within <= 1)  # of two balls that hold it one is left
        # Hardly any ball reaches these points: what is counted are the pairs that are there.
        others = (self._further @ self._sparse.csr_matrix(would[:, few], dtype=np.float32)).tocoo()
        sample, point = others.row, few[others.col]
        counted = (within[point] == 0) | holds[sample, point]
        self._lost += holds[:, few].sum(axis=1) - np.bincount(sample[counted], minlength=len(holds))

    def held(self) -> Held:
        """What all portions add up to."""
        alone = np.bincount(self._holder[self._inside == 1], minlength=len(self._counts))
        return Held(self._counts, self._inside, self._grown, alone, self._lost)


def squares_of(rows: np.ndarray) -> np.ndarray:
    """Squared lengths, float64 (n,)."""
    return np.asarray(np.einsum("nd,nd->n", rows, rows))


def squared_distances(
    x: np.ndarray, y: np.ndarray, x_squares: np.ndarray | None = None, y_squares: np.ndarray | None = None
) -> np.ndarray:
    """float64 (n, m), not below zero; with their squared lengths where those are known."""
    squares: np.ndarray = x @ y.T
    squares *= -2.0
    squares += (squares_of(x) if x_squares is None else x_squares)[:, None]
    squares += squares_of(y) if y_squares is None else y_squares
    return np.maximum(squares, 0.0, out=squares)


def slack_of(x: np.ndarray, y: np.ndarray) -> float:
    """What two equal squared distances among these rows may differ by."""
    return _SLACK * float(max(squares_of(x).max(), squares_of(y).max()))
