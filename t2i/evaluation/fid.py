"""Frechet distance between two sets of features seen as Gaussians (Heusel et al. 2017, arXiv:1706.08500, eq. 6).

    FID = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2),   S with ddof = 1 (divided by N - 1)

No matrix square root is needed. Write S1 = A'A and S2 = B'B, where A and B are the centred features divided by
sqrt(N - 1) and sqrt(M - 1). S1 S2 = A'(A B'B) has the non-zero eigenvalues of A B'B A' = G G' with the cross-Gram
matrix G = A B', so tr (S1 S2)^(1/2) is the sum of the singular values of G: its nuclear norm. A side with more
rows than columns is first replaced by the R of its QR factorisation, which has the same A'A; so the matrix is
never larger than D x D, nothing is squared, and two equal sets give 0 to rounding.
"""

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.intervals import Interval, centred, resample_counts
from t2i.evaluation.measurement import Inputs, Measurement

DDOF = 1
"""The covariance divides by N - DDOF."""

REPLICATES = 200
"""Most bootstrap replicates: each costs an eigenvalue problem of size min(N, M, D)."""


def fid(features: np.ndarray, reference: np.ndarray) -> float:
    """FID of `features` (N, D) against `reference` (M, D), in float64; at least 0.

    Raises UserError for fewer than two samples, non-finite values or different widths. The value is biased upwards
    by about 1/N, so only sets of equal size can be compared.
    """
    generated, real = checks.feature_pair(features, reference)
    (mean1, factor1), (mean2, factor2) = _mean_and_factor(generated), _mean_and_factor(real)
    return _distance(mean1, factor1, mean2, factor2)


def fid_from_moments(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """FID of means (D,) and symmetric positive semidefinite covariances (D, D), in float64: the eigen form.

    The singular values of L1'L2 with S = L L' from `eigh` are the roots of the eigenvalues of S1^(1/2) S2 S1^(1/2).
    Eigenvalues below D * eps * the largest are rounding noise, whose root would not be small, and count as zero.
    """
    for name, mean, cov in (("first", mean1, cov1), ("second", mean2, cov2)):
        checks.features(f"{name} covariance", cov, least=1)
        checks.features(f"{name} mean", mean[None], least=1)
        checks.same_width(f"{name} mean", mean[None], f"{name} covariance", cov)
    checks.same_width("first mean", mean1[None], "second mean", mean2[None])
    return _distance(mean1.astype(np.float64), _root(cov1), mean2.astype(np.float64), _root(cov2))


def fid_interval(features: np.ndarray, reference: np.ndarray, seed: int, replicates: int = REPLICATES) -> Interval:
    """FID with a bootstrap interval over the generated images; the reference stays fixed, as in any comparison.

    Resampled FID is biased upwards (a resample has fewer distinct images), so the interval is shifted by the
    bootstrap's own estimate of that bias and lies around the point estimate (`intervals.centred`). It says how
    sure this FID at this N is; the bias of FID at finite N itself stays in the number.
    """
    generated, real = checks.feature_pair(features, reference)
    counts = resample_counts(len(generated), seed, replicates)
    return centred(fid(generated, real), _replicates(generated, real, counts))


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`fid` with at most REPLICATES bootstrap replicates."""
    assert inputs.reference is not None
    replicates = min(inputs.replicates, REPLICATES)
    return {"fid": Measurement(fid_interval(inputs.generated, inputs.reference, inputs.seed, replicates))}


def _mean_and_factor(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and a matrix A (min(N, D), D) with A'A = the covariance."""
    mean = features.mean(axis=0)
    factor = (features - mean) / np.sqrt(len(features) - DDOF)
    if factor.shape[0] > factor.shape[1]:
        factor = np.asarray(np.linalg.qr(factor, mode="r"))
    return mean, factor


def _root(cov: np.ndarray) -> np.ndarray:
    """A matrix A (D, D) with A'A = cov."""
    values, vectors = np.linalg.eigh(cov.astype(np.float64))
    values[values < len(values) * np.finfo(np.float64).eps * values[-1]] = 0.0
    return (vectors * np.sqrt(values)).T


def _distance(mean1: np.ndarray, factor1: np.ndarray, mean2: np.ndarray, factor2: np.ndarray) -> float:
    trace = np.linalg.svd(factor1 @ factor2.T, compute_uv=False).sum()
    squares = np.square(mean1 - mean2).sum() + np.square(factor1).sum() + np.square(factor2).sum()
    # A distance: what falls below zero is rounding.
    return max(0.0, float(squares - 2.0 * trace))


def _replicates(generated: np.ndarray, real: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """FID of each resample (R,): the cross-Gram is computed once, a resample only weights and centres its rows."""
    mean, factor = _mean_and_factor(real)
    # Distances do not change with the origin; at the reference's mean the sums of squares lose no digits.
    shifted = generated - mean
    gram = shifted @ factor.T
    squares = np.square(shifted).sum(axis=1)
    weight = 1.0 / (len(generated) - DDOF)
    real_trace = np.square(factor).sum()
    values = np.empty(len(counts))
    for index, count in enumerate(counts):
        drawn = np.flatnonzero(count)
        share = count[drawn, None] / len(generated)
        centre = (share * shifted[drawn]).sum(axis=0)
        rows = (gram[drawn] - (share * gram[drawn]).sum(axis=0)) * np.sqrt(count[drawn, None] * weight)
        distance = np.square(centre).sum()
        trace = weight * (count @ squares - len(generated) * distance)
        values[index] = distance + trace + real_trace - 2.0 * _nuclear_norm_by_gram(rows)
    return values


def _nuclear_norm_by_gram(matrix: np.ndarray) -> float:
    """Nuclear norm through the smaller Gram matrix: three times faster, exact to 1e-8 only: enough for an interval."""
    small = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(small), 0.0, None)).sum())
