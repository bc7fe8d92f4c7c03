"""Precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991, eq. 1-2), density and coverage (Naeem et al. 2020,
arXiv:2002.09797, eq. 4-5): is a generated image among the real ones, and does every real one have a generated near it?

Around each sample lies a ball that reaches its k-th nearest neighbour in its own set, itself not counted. Balls are
closed: a distance equal to the radius (`<=`, to rounding) is inside, as in Kynkaanniemi's eq. 1; the code published
with density and coverage uses `<`, which differs only where distances are equal.

    precision: share of the generated samples inside at least one real ball
    recall:    share of the real samples inside at least one generated ball
    density:   real balls that hold a generated sample, mean over these, divided by k; may exceed 1
    coverage:  share of the real balls that hold at least one generated sample
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.intervals import Interval, bootstrap_mean, jackknife_of, left_out, share
from t2i.evaluation.measurement import Inputs, Measurement
from t2i.evaluation.mmd import blocks

K = 5
"""Neighbours, as Naeem et al. choose (Kynkaanniemi et al.: 3)."""

GROUPS = 20
"""Replicates of the jackknife for recall and coverage."""

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


def precision_recall_density_coverage(real: np.ndarray, fake: np.ndarray, k: int = K) -> dict[str, float]:
    """`precision`, `recall`, `density` and `coverage` of generated features `fake` (N, D) for `real` (M, D).

    Raises UserError for non-finite values, different widths, or a set of k samples or fewer.
    """
    found = neighbours(*checked(real, fake, k), k)
    return {name: float(getattr(found, name).mean()) for name in ("precision", "recall", "density", "coverage")}


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """All four: precision with Wilson's interval, density with a bootstrap, recall and coverage with a jackknife."""
    assert inputs.reference is not None
    real, fake = checked(inputs.reference, inputs.generated, K)
    found = neighbours(real, fake, K)
    recall, coverage = _jackknife(real, fake, K, found, inputs.seed)
    return {
        "precision": Measurement(share(found.precision), found.precision.astype(np.float64)),
        "recall": Measurement(recall),
        "density": Measurement(bootstrap_mean(found.density, inputs.seed, inputs.replicates), found.density),
        "coverage": Measurement(coverage),
    }


def checked(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as float64 around the mean of the real one, which keeps digits; UserError for what cannot be used."""
    if k < 1:
        raise UserError(f"k={k} neighbours: expected at least 1")
    generated, reference = checks.feature_pair(fake, real, least=k + 1)
    origin = reference.mean(axis=0)
    return reference - origin, generated - origin


def neighbours(real: np.ndarray, fake: np.ndarray, k: int) -> Neighbours:
    """Of checked sets; blocks of distances only, never all of them."""
    real_radii, fake_radii = radii(real, k), radii(fake, k)
    density = np.zeros(len(fake))
    recall, coverage = np.empty(len(real), bool), np.empty(len(real), bool)
    slack = slack_of(real, fake)
    for rows in blocks(len(real)):
        squares = squared_distances(real[rows], fake)
        inside = squares <= real_radii[rows, None] + slack
        density += inside.sum(axis=0)
        coverage[rows] = inside.any(axis=1)
        recall[rows] = (squares <= fake_radii + slack).any(axis=1)
    return Neighbours(density > 0, density / k, recall, coverage)


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float64 (n, m), not below zero."""
    squares: np.ndarray = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2.0 * (x @ y.T)
    return np.maximum(squares, 0.0, out=squares)


def slack_of(x: np.ndarray, y: np.ndarray) -> float:
    """What two equal squared distances among these rows may differ by."""
    return _SLACK * float(max(np.square(x).sum(axis=1).max(), np.square(y).sum(axis=1).max()))


def radii(samples: np.ndarray, k: int) -> np.ndarray:
    """float64 (N,): squared distance of each sample to its k-th nearest other one. Every pair is computed once."""
    nearest = np.full((len(samples), k), np.inf)
    for rows in blocks(len(samples)):
        own = squared_distances(samples[rows], samples[rows])
        np.fill_diagonal(own, np.inf)  # a sample is not its own neighbour
        rest = squared_distances(samples[rows], samples[rows.stop :])
        nearest[rows] = _smallest(np.hstack([nearest[rows], own, rest]), k)
        nearest[rows.stop :] = _smallest(np.hstack([nearest[rows.stop :], rest.T]), k)
    return nearest.max(axis=1)


def _smallest(values: np.ndarray, k: int) -> np.ndarray:
    """The k smallest of each row, in no order."""
    return np.partition(values, k - 1, axis=1)[:, :k]


def _jackknife(real: np.ndarray, fake: np.ndarray, k: int, found: Neighbours, seed: int) -> tuple[Interval, Interval]:
    """Intervals of recall and coverage over the generated samples, the real ones fixed."""
    parts = left_out(len(fake), seed, GROUPS)
    values = float(found.recall.mean()), float(found.coverage.mean())
    if len(fake) - max(map(len, parts)) <= k:
        return Interval(values[0], 0.0, 1.0), Interval(values[1], 0.0, 1.0)
    fake, starts = fake[np.concatenate(parts)], np.cumsum([0, *map(len, parts)])
    real_radii, slack = radii(real, k), slack_of(real, fake)
    reach = _radii_without(fake, starts, k) + slack
    for number, (start, end) in enumerate(pairwise(starts)):
        reach[number, start:end] = -1.0  # what is left out reaches nothing
    recall, coverage = np.zeros(len(parts)), np.zeros(len(parts))
    for rows in blocks(len(real)):
        squares = squared_distances(real[rows], fake)
        held = np.minimum.reduceat(squares, starts[:-1], axis=1) <= real_radii[rows, None] + slack
        coverage += (held.sum(axis=1)[:, None] > held).sum(axis=0)  # by another part than the one left out
        recall += [(squares <= limits).any(axis=1).sum() for limits in reach]
    return (
        _within_one(jackknife_of(values[0], recall / len(real))),
        _within_one(jackknife_of(values[1], coverage / len(real))),
    )


def _radii_without(samples: np.ndarray, starts: np.ndarray, k: int) -> np.ndarray:
    """float64 (P, N): as `radii`, without the samples from starts[p] to starts[p + 1]; all distances are computed once."""
    nearest = np.full((len(samples), len(starts) - 1, k), np.inf)
    for rows in blocks(len(samples)):
        squares = squared_distances(samples[rows], samples)
        np.einsum("ii->i", squares[:, rows])[...] = np.inf
        for number, (start, end) in enumerate(pairwise(starts)):
            some = _smallest(squares[:, start:end], k) if end - start > k else squares[:, start:end]
            nearest[rows, number, : some.shape[1]] = some
    found = np.empty((nearest.shape[1], len(samples)))
    for number in range(len(found)):
        rest = np.delete(nearest, number, axis=1).reshape(len(samples), -1)
        found[number] = np.partition(rest, k - 1, axis=1)[:, k - 1]
    return found


def _within_one(interval: Interval) -> Interval:
    """A share is neither below 0 nor above 1."""
    return Interval(interval.value, max(0.0, interval.low), min(1.0, interval.high))
