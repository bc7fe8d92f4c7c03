"""Precision, recall, density and coverage of one set minus those of another from the same prompts and seeds."""

import numpy as np

from t2i.evaluation import checks, prdc
from t2i.evaluation.measurement import Inputs
from t2i.evaluation.mmd import blocks
from t2i.evaluation.paired import PairedDifference, paired_difference, swap_test

REPLICATES = 400
"""Most swaps for recall and coverage: each compares every real sample with every generated one."""

_NEAREST = 160
"""Nearest neighbours kept for each sample of the pool: that fewer than k of so many lie in one set never happens."""


def difference(base: Inputs, tuned: Inputs) -> dict[str, PairedDifference]:
    """Precision and density are means over generated samples: paired bootstrap and sign test. Recall and coverage
    depend on the set as a whole: swaps of pairs.
    """
    assert base.reference is not None
    checks.same_length("base samples", base.generated, "tuned samples", tuned.generated)
    k, count = prdc.K, len(base.generated)
    real, first = prdc.checked(base.reference, base.generated, k)
    _, second = prdc.checked(base.reference, tuned.generated, k)
    before, after = prdc.neighbours(real, first, k), prdc.neighbours(real, second, k)
    swapped = _Swapped(real, np.concatenate([first, second]), k)
    replicates = min(REPLICATES, base.replicates)

    def of(name: str) -> PairedDifference:
        old, new = getattr(before, name), getattr(after, name)
        if name in ("precision", "density"):
            return paired_difference(old, new, base.seed, base.replicates)
        change = float(new.mean() - old.mean())
        return swap_test(change, getattr(swapped, name), count, base.seed, replicates)

    return {name: of(name) for name in ("precision", "recall", "density", "coverage")}


class _Swapped:
    """Recall and coverage differences of the two halves of `pool` (2 N, D) after exchanging pairs i and N + i."""

    def __init__(self, real: np.ndarray, pool: np.ndarray, k: int) -> None:
        self._real, self._pool, self._k = real, pool, k
        self._slack = prdc.slack_of(real, pool)
        self._nearest = _nearest(pool)

    def coverage(self, tosses: np.ndarray) -> np.ndarray:
        """float64 (R,) for tosses bool (R, N)."""
        in_second = np.concatenate([tosses, ~tosses], axis=1).T.astype(np.float32)
        found = np.zeros(len(tosses))
        radii = prdc.radii(self._real, self._k)
        for rows in blocks(len(self._real)):
            squares = prdc.squared_distances(self._real[rows], self._pool)
            inside = (squares <= radii[rows, None] + self._slack).astype(np.float32)
            held = inside @ in_second
            found += (held > 0).sum(axis=0) - (inside.sum(axis=1)[:, None] - held > 0).sum(axis=0)
        return found / len(self._real)

    def recall(self, tosses: np.ndarray) -> np.ndarray:
        """float64 (R,) for tosses bool (R, N)."""
        in_second = np.concatenate([tosses, ~tosses], axis=1)
        radii = np.stack([self._radii(member) for member in in_second]) + self._slack
        found = np.zeros(len(tosses))
        for rows in blocks(len(self._real)):
            squares = prdc.squared_distances(self._real[rows], self._pool)
            for number, member in enumerate(in_second):
                inside = squares <= radii[number]
                found[number] += inside[:, member].any(axis=1).sum()
                found[number] -= inside[:, ~member].any(axis=1).sum()
        return found / len(self._real)

    def _radii(self, member: np.ndarray) -> np.ndarray:
        """float64 (2 N,): squared distance of each sample to the k-th nearest other one of its own set."""
        places, squares = self._nearest
        own = member[places] == member[:, None]
        kth = (np.cumsum(own, axis=1) >= self._k).argmax(axis=1)
        return np.take_along_axis(squares, kth[:, None], axis=1)[:, 0]


def _nearest(pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and squared distances of the nearest others of each sample, nearest first, (2 N, n) each."""
    size = min(_NEAREST, len(pool) - 1)
    places, squares = np.empty((len(pool), size), np.int64), np.empty((len(pool), size))
    for rows in blocks(len(pool)):
        part = prdc.squared_distances(pool[rows], pool)
        np.einsum("ii->i", part[:, rows])[...] = np.inf
        near = np.argpartition(part, size - 1, axis=1)[:, :size]
        values = np.take_along_axis(part, near, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        places[rows] = np.take_along_axis(near, order, axis=1)
        squares[rows] = np.take_along_axis(values, order, axis=1)
    return places, squares
