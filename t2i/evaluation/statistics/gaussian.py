"""Gaussians fitted to features, from a matrix or from a stream of batches, and the Frechet distance between two.

The Frechet (2-Wasserstein) distance of N(m1, S1) and N(m2, S2) (Dowson & Landau 1982, eq. 4) is

    d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

No matrix square root is needed. With S1 = A'A and S2 = B'B, S1 S2 has the non-zero eigenvalues of G G' for the
cross-Gram matrix G = A B', so tr (S1 S2)^(1/2) is the sum of the singular values of G: its nuclear norm. Fewer
samples than features (N < D): A has N - 1 rows, the features themselves, and nothing of size D x D is built.
Otherwise B is the Cholesky factor of S2, computed once for each Gaussian and kept with it, and G'G = B S1 B': one
congruence (LAPACK's `sygst`, which no matrix product follows) and its eigenvalues.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.statistics.symmetric import eigenvalues, scatter

DDOF = 1
"""The covariance divides by N - DDOF."""

_QR_WIDTH = 512
"""Up to this width a tall matrix is reduced by QR, which squares nothing; beyond, by the three times faster Cholesky."""

_SVD_SIZE = 256
"""Up to this size singular values are computed directly; beyond, from the Gram matrix where that is exact enough."""

_TOLERANCE = 1e-8
"""Relative error of a distance that the Gram matrix may cause at worst; found where it was looked at: 1e-12."""


@dataclass(frozen=True)
class Gaussian:
    """N(mean, cov), its covariance as a matrix or, where samples are few, as rows whose squares sum up to it."""

    mean: np.ndarray
    """float64 (D,)."""
    cov: np.ndarray | None = None
    """float64 (D, D), symmetric positive semidefinite; None where `rows` stand for it."""
    rows: np.ndarray | None = None
    """float64 (r, D) with rows' rows = cov and r <= D."""

    @classmethod
    def of(cls, features: np.ndarray) -> "Gaussian":
        """The Gaussian with the mean and the covariance (ddof = 1) of checked features (N, D), in float64 whatever they are."""
        samples, width = features.shape
        mean = features.mean(axis=0, dtype=np.float64)
        scale = np.sqrt(samples - DDOF)
        if samples <= width:
            return cls(mean, rows=_without_mean_row(features - mean) / scale)
        if width <= _QR_WIDTH:
            return cls(mean, rows=np.asarray(np.linalg.qr(features - mean, mode="r")) / scale)
        cov = scatter(features, mean)
        cov /= samples - DDOF
        return cls(mean, cov=cov)

    @classmethod
    def from_moments(cls, mean: np.ndarray, cov: np.ndarray) -> "Gaussian":
        """The Gaussian with this mean (D,) and symmetric positive semidefinite covariance (D, D)."""
        return cls(mean.astype(np.float64), cov=cov.astype(np.float64))

    @cached_property
    def triangle(self) -> np.ndarray | None:
        """The upper triangular factor of `cov`, float64 (D, D); None where it is singular or stands as `rows`."""
        from scipy import linalg

        if self.cov is None:
            return None
        try:
            return linalg.cholesky(self.cov, check_finite=False)
        except linalg.LinAlgError:
            return None

    @cached_property
    def factor(self) -> np.ndarray:
        """float64 (r, D), r <= D: factor' factor is the covariance."""
        if self.rows is not None:
            return self.rows
        assert self.cov is not None
        return self.triangle if self.triangle is not None else _root(self.cov)

    @property
    def trace(self) -> float:
        """Trace of the covariance."""
        return float(np.trace(self.cov) if self.cov is not None else np.square(self.factor).sum())


def distance(first: Gaussian, second: Gaussian) -> float:
    """Squared Frechet distance, at least 0. The root of `second` is kept with it: a reference comes second."""
    squares = float(np.square(first.mean - second.mean).sum()) + first.trace + second.trace
    found = _norm_by_squares(first, second)
    if found is not None and 2.0 * found[1] <= _TOLERANCE * (squares - 2.0 * found[0]):
        return squares - 2.0 * found[0]
    norm = float(np.linalg.svd(first.factor @ second.factor.T, compute_uv=False).sum())
    # A distance: what falls below zero is rounding.
    return max(0.0, squares - 2.0 * norm)


def singular(first: Gaussian, second: Gaussian) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular values s of the cross-Gram A B' = U s V', float64 (r,), with A' U and B' V, float64 (D, r) each.

    From the smaller of its Gram matrices, without values below 1e-7 of the largest, which are rounding there.
    """
    from scipy import linalg

    if first.cov is not None and second.triangle is not None:
        squares, right = linalg.eigh(_congruence(first.cov, second.triangle), lower=False, check_finite=False)
        values, kept = _roots(squares)
        lifted = second.triangle.T @ right[:, kept]
        return values, first.cov @ lifted / values, lifted
    cross = first.factor @ second.factor.T
    if cross.shape[0] < cross.shape[1]:
        squares, left = np.linalg.eigh(cross @ cross.T)
        values, kept = _roots(squares)
        return values, first.factor.T @ left[:, kept], second.factor.T @ (cross.T @ left[:, kept]) / values
    squares, right = np.linalg.eigh(cross.T @ cross)
    values, kept = _roots(squares)
    return values, first.factor.T @ (cross @ right[:, kept]) / values, second.factor.T @ right[:, kept]


def _roots(squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Roots of the eigenvalues (r,) that are more than rounding, and which those are, bool (r,)."""
    kept = squares > max(1e-14 * squares[-1], np.finfo(np.float64).tiny)
    return np.sqrt(squares[kept]), kept


def _norm_by_squares(first: Gaussian, second: Gaussian) -> tuple[float, float] | None:
    """Nuclear norm of the cross-Gram from eigenvalues of its square, and its error; None where it is small."""
    if first.cov is not None and second.triangle is not None and len(first.cov) > _SVD_SIZE:
        return _norm_of_roots(eigenvalues(_congruence(first.cov, second.triangle)))
    cross = first.factor @ second.factor.T
    return nuclear_norm_by_gram(cross) if min(cross.shape) > _SVD_SIZE else None


def nuclear_norm_by_gram(matrix: np.ndarray) -> tuple[float, float]:
    """Nuclear norm through the smaller Gram matrix, and an estimate of its error.

    Four times faster than singular values. An eigenvalue is exact to eps times the largest, so a singular value s
    is to eps s_max^2 / 2s, and one below sqrt(eps) s_max is noise of that size.
    """
    gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    return _norm_of_roots(eigenvalues(gram))


def _norm_of_roots(values: np.ndarray) -> tuple[float, float]:
    """Sum of the roots of eigenvalues (r,) in rising order, and an estimate of its error."""
    values = np.clip(values, 0.0, None)
    noise = np.finfo(np.float64).eps * values[-1]
    roots = np.sqrt(values)
    return float(roots.sum()), float((noise / np.maximum(roots, np.sqrt(noise) + np.finfo(np.float64).tiny)).sum())


class Moments:
    """Count, mean and covariance of features that come in batches or from several processes, in float64.

    Batches are joined by the pairwise update of Chan, Golub & LeVeque (1979, Stanford STAN-CS-79-773, eq. 2.1), which
    sums squares around the mean and therefore loses no digits when the mean is far from zero.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean = np.zeros(width)
        self.scatter = np.zeros((width, width))

    def add(self, features: np.ndarray) -> None:
        """Take in a batch (n, D), n >= 1; UserError when it is not finite or of another width."""
        batch = checks.features("given", features, least=1)
        checks.same_width("given", batch, "earlier", self.mean[None])
        mean = batch.mean(axis=0)
        self._join(len(batch), mean, scatter(batch, mean))

    def merge(self, other: "Moments") -> None:
        """Take in what another stream saw; UserError when the widths differ."""
        checks.same_width("one stream's", self.mean[None], "the other's", other.mean[None])
        if other.count:
            self._join(other.count, other.mean, other.scatter)

    def _join(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total = self.count + count
        step = mean - self.mean
        self.scatter += scatter + np.outer(step, step) * (self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """float64 (D, D), ddof = 1; UserError for fewer than two samples."""
        checks.enough("streamed", self.count)
        return self.scatter / (self.count - DDOF)

    def gaussian(self) -> Gaussian:
        """The fitted Gaussian; UserError for fewer than two samples."""
        return Gaussian.from_moments(self.mean, self.covariance)


def _without_mean_row(centred: np.ndarray) -> np.ndarray:
    """N - 1 rows with the same A'A as N centred ones: a reflection puts their (zero) mean first, where it is dropped.

    The zero row would be a singular value of pure rounding noise.
    """
    rows = len(centred)
    axis = np.full(rows, rows**-0.5)
    axis[0] += 1.0
    reflected: np.ndarray = centred - np.outer(axis, (axis @ centred) / (1.0 + rows**-0.5))
    return reflected[1:]


def _root(cov: np.ndarray) -> np.ndarray:
    """A matrix A (D, D) with A'A = cov, also where cov is singular.

    Eigenvalues below D * eps * the largest are rounding noise, whose root would not be small, and count as zero.
    """
    values, vectors = np.linalg.eigh(cov)
    values[values < len(values) * np.finfo(np.float64).eps * values[-1]] = 0.0
    return (vectors * np.sqrt(values)).T


def _congruence(cov: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    """Upper triangle of triangle cov triangle' (D, D), at half the work of two products."""
    from scipy.linalg import lapack

    found, _ = lapack.dsygst(
        cov.T, triangle, itype=2
    )  # the transpose of a symmetric matrix is itself, in LAPACK's order
    return np.asarray(found)
