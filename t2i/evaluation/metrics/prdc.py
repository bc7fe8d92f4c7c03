"""Precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991, eq. 1-2), density and coverage (Naeem et al. 2020,
arXiv:2002.09797, eq. 4-5): is a generated image among the real ones, and does every real one have a generated near it?

Around each sample lies a ball that reaches its k-th nearest neighbour in its own set, itself not counted. For precision and
recall balls are closed (a distance equal to the radius, to rounding, is inside), as in Kynkaanniemi's eq. 1 and code; for
density and coverage they are open, as in the code that Naeem et al. published. They differ where distances are equal: for
equal sets and copies.

    precision: share of the generated samples inside at least one real ball
    recall:    share of the real samples inside at least one generated ball
    density:   real balls that hold a generated sample, mean over these, divided by k; may exceed 1
    coverage:  share of the real balls that hold at least one generated sample
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.statistics.forecast import foretell
from t2i.evaluation.statistics.mmd import tiles
from t2i.evaluation.statistics.parts import parts_of, replicates
from t2i.evaluation.statistics.terms import Terms

K = 5
"""Neighbours, as Naeem et al. choose (Kynkaanniemi et al.: 3)."""

NAMES = ("precision", "recall", "density", "coverage")

KEPT = 3000
"""Images of a side up to which all distances are kept for the parts: 3 x 69 MiB."""

LEAST = 20
"""Images of a side in a part: with ten, changes that are not there were found in up to 15 of 100 comparisons. Below 40 images
there is a number, and neither interval nor test."""

INFLATION = 1.3
"""Of the variance that parts show: in simulations parts of 20 to 200 images gave 0.77 of it (0.6 to 1.1)."""

_SLACK = 1e-12
"""Squared distances come from inner products; equal ones agree to this share of the largest squared length."""


@dataclass(frozen=True)
class Neighbours:
    """Which balls hold what; one entry per sample."""

    precision: np.ndarray
    """bool (N,), per generated sample; so too `density`, float64."""
    density: np.ndarray
    recall: np.ndarray
    """bool (M,), per real sample; so too `coverage`."""
    coverage: np.ndarray

    def means(self) -> np.ndarray:
        """The four numbers in the order of NAMES, float64 (4,)."""
        return np.array([getattr(self, name).mean() for name in NAMES])


def precision_recall_density_coverage(real: np.ndarray, fake: np.ndarray, k: int = K) -> dict[str, float]:
    """`precision`, `recall`, `density` and `coverage` of generated features `fake` (N, D) for `real` (M, D).

    Raises UserError for non-finite values, different widths, or a set of k samples or fewer.
    """
    return dict(zip(NAMES, neighbours(*checked(real, fake, k), k).means().tolist(), strict=True))


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """All four, with the value of each generated image for precision and density.

    Their intervals are for the world: statistics of nearest neighbours depend on all samples of both sets at every order,
    so their variance comes from what whole parts of both sets say (`t2i/evaluation/statistics/parts.py`).
    """
    assert inputs.reference is not None
    real, fake = checked(inputs.reference, inputs.generated, K)
    foretell("precision and recall", len(fake), len(real), lambda rows: neighbours(real[rows], fake[rows], K))
    found = neighbours(real, fake, K)

    of_part = _Kept(real, fake, K) if max(len(real), len(fake)) <= KEPT else _computed(real, fake, K)
    split = parts_of(len(fake), len(real), inputs.units, inputs.seed, inputs.replicates, least=LEAST)
    spread = replicates(split, of_part, "precision and recall") * INFLATION**0.5 if split else None
    values = found.means()
    per_sample = {"precision": found.precision.astype(np.float64), "density": found.density}
    measured_ = {}
    for number, name in enumerate(NAMES):
        terms = Terms(
            float(values[number]),
            scale=1.0,
            lowest=0.0,
            highest=np.inf if name == "density" else 1.0,
            replicates=None if spread is None else spread[:, number],
            freedom=None if split is None else split.freedom,
            samples=min(len(fake), len(real)),
        )
        measured_[name] = measured(terms, inputs.units, per_sample.get(name))
    return measured_


difference = between(measure)


class _Kept:
    """The four numbers of a part from distances that are computed once and kept: three matrices of at most KEPT squared."""

    def __init__(self, real: np.ndarray, fake: np.ndarray, k: int) -> None:
        self._real, self._fake = squared_distances(real, real), squared_distances(fake, fake)
        self._across, self._slack, self._k = squared_distances(real, fake), slack_of(real, fake), k
        for own in (self._real, self._fake):
            np.fill_diagonal(own, np.inf)

    def __call__(self, rows: np.ndarray, real_rows: np.ndarray) -> np.ndarray:
        reach, reach_fake = (
            _smallest(own[np.ix_(some, some)], self._k).max(axis=1)
            for own, some in ((self._real, real_rows), (self._fake, rows))
        )
        squares = self._across[np.ix_(real_rows, rows)]
        inside = squares < reach[:, None] - self._slack
        return Neighbours(
            (squares <= reach[:, None] + self._slack).any(axis=0),
            inside.sum(axis=0) / self._k,
            (squares <= reach_fake + self._slack).any(axis=1),
            inside.any(axis=1),
        ).means()


def _computed(real: np.ndarray, fake: np.ndarray, k: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda rows, real_rows: neighbours(real[real_rows], fake[rows], k).means()


def checked(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as float64 around the mean of the real one, which keeps digits; UserError for what cannot be used."""
    if k < 1:
        raise UserError(f"k={k} neighbours: expected at least 1")
    generated, reference = checks.feature_pair(fake, real, least=k + 1)
    origin = reference.mean(axis=0)
    return reference - origin, generated - origin


def neighbours(real: np.ndarray, fake: np.ndarray, k: int) -> Neighbours:
    """Of checked sets; one tile of the distances at a time, so memory grows like the sets and time like their product."""
    real_radii, fake_radii = radii(real, k), radii(fake, k)
    density, precision = np.zeros(len(fake)), np.zeros(len(fake), bool)
    recall, coverage = np.zeros(len(real), bool), np.zeros(len(real), bool)
    slack, lengths, fake_lengths = slack_of(real, fake), squares_of(real), squares_of(fake)
    for rows, columns in tiles(len(real), len(fake)):
        squares = squared_distances(real[rows], fake[columns], lengths[rows], fake_lengths[columns])
        inside = squares < real_radii[rows, None] - slack
        density[columns] += inside.sum(axis=0)
        coverage[rows] |= inside.any(axis=1)
        precision[columns] |= (squares <= real_radii[rows, None] + slack).any(axis=0)
        recall[rows] |= (squares <= fake_radii[columns] + slack).any(axis=1)
    return Neighbours(precision, density / k, recall, coverage)


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


def radii(samples: np.ndarray, k: int) -> np.ndarray:
    """float64 (N,): squared distance of each sample to its k-th nearest other one. Every pair is computed once."""
    nearest, lengths = np.full((len(samples), k), np.inf), squares_of(samples)
    for rows, columns in tiles(len(samples)):
        squares = squared_distances(samples[rows], samples[columns], lengths[rows], lengths[columns])
        if rows == columns:
            np.fill_diagonal(squares, np.inf)  # a sample is not its own neighbour
        else:
            _nearer(nearest[columns], squares.T)
        _nearer(nearest[rows], squares)
    return nearest.max(axis=1)


def _nearer(nearest: np.ndarray, squares: np.ndarray) -> None:
    """Takes what is smaller than the k so far (n, k), in place; the rows of `squares` (n, m) without any are left alone."""
    changed = np.flatnonzero(squares.min(axis=1) < nearest.max(axis=1))
    nearest[changed] = _smallest(np.hstack([nearest[changed], squares[changed]]), nearest.shape[1])


def _smallest(values: np.ndarray, k: int) -> np.ndarray:
    """The k smallest of each row, in no order."""
    return np.partition(values, k - 1, axis=1)[:, :k]
