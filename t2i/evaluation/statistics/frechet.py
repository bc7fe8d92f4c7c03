"""The Frechet distance of two sets of features with what each image contributes: the distance without it, exactly.

With A and B the factors of the covariances (S = A'A, R = B'B), tr (S R)^(1/2) is the sum of the singular values s of A B'
= U s V' (`gaussian.py`). Leaving out one generated image takes a matrix of rank one from (N - 1) B S B', whose
eigenvalues are (N - 1) s^2; leaving out one of the reference takes one from (M - 1) A R A'. So all distances without one image
follow from one decomposition (`leave_one_out.py`), above and below N = D alike. (Below, the derivative alone
would be wrong: an image that spans a direction of its own takes its whole singular value along, not half of it.)
"""

from dataclasses import dataclass

import numpy as np

from t2i.evaluation.statistics.gaussian import Gaussian, distance, singular
from t2i.evaluation.statistics.leave_one_out import root_losses
from t2i.evaluation.statistics.terms import Terms, left_one_out


def frechet_terms(generated: np.ndarray, reference: np.ndarray) -> Terms:
    """Of checked features float64 (N, D) and (M, D): squared distance with the contributions of both sides.

    Without contributions for fewer than three samples on a side.
    """
    first, second = Gaussian.of(generated), Gaussian.of(reference)
    value = distance(first, second)
    scale = first.trace + second.trace
    if min(len(generated), len(reference)) < 3:
        return Terms(value, scale, 0.0)
    values, left, right = singular(first, second)
    sides = (
        _Side(generated - first.mean, first.mean - second.mean, right, values),
        _Side(reference - second.mean, second.mean - first.mean, left, values),
    )
    contributions = [
        left_one_out(side.without(other)) for side, other in zip(sides, (second.trace, first.trace), strict=True)
    ]
    return Terms(value, scale, 0.0, generated=contributions[0], reference=contributions[1])


def frechet_terms_of_moments(generated: np.ndarray, reference: Gaussian) -> Terms:
    """As `frechet_terms`, of a reference of which nothing but mean and covariance is known: it contributes nothing, so the
    interval is for this reference.
    """
    first = Gaussian.of(generated)
    value, scale = distance(first, reference), first.trace + reference.trace
    if len(generated) < 3:
        return Terms(value, scale, 0.0)
    values, _, right = singular(first, reference)
    own = _Side(generated - first.mean, first.mean - reference.mean, right, values)
    return Terms(value, scale, 0.0, generated=left_one_out(own.without(reference.trace)))


def distances_without(generated: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The distance without each generated image, float64 (N,), for checked sets of at least three."""
    first, second = Gaussian.of(generated), Gaussian.of(reference)
    values, _, right = singular(first, second)
    return _Side(generated - first.mean, first.mean - second.mean, right, values).without(second.trace)


@dataclass(frozen=True)
class _Side:
    """The set that loses an image."""

    centred: np.ndarray
    """float64 (n, D)."""
    offset: np.ndarray
    """float64 (D,): own mean minus that of the other set."""
    directions: np.ndarray
    """float64 (D, r): the other set's factor times the singular vectors on its side."""
    singular: np.ndarray
    """float64 (r,)."""

    def without(self, other_trace: float) -> np.ndarray:
        """The distance without each image, float64 (n,)."""
        eigenvalues = (len(self.centred) - 1.0) * np.square(self.singular)
        squares = np.square(self.centred @ self.directions)
        return without_each(self.centred, self.offset, other_trace, eigenvalues, squares)


def without_each(
    centred: np.ndarray, offset: np.ndarray, other_trace: float, eigenvalues: np.ndarray, squares: np.ndarray
) -> np.ndarray:
    """The distance of a set to another one without each of its images, float64 (n,).

    centred: float64 (n, D) around their mean, which is `offset` (D,) from the other's. eigenvalues: (r,) of the sum over images
    of c c', with c an image times the other's factor; squares: (n, r) of the c along the eigenvectors.
    """
    count = len(centred)
    lengths = np.square(centred).sum(axis=1)
    factor = count / (count - 1.0)
    losses = root_losses(eigenvalues, squares, factor)
    norm = np.sqrt(eigenvalues).sum()
    means = offset @ offset - 2.0 * (centred @ offset) / (count - 1.0) + lengths / (count - 1.0) ** 2
    trace = (lengths.sum() - factor * lengths) / (count - 2.0)
    found: np.ndarray = means + trace + other_trace - 2.0 * (norm - losses) / np.sqrt(count - 2.0)
    return found
