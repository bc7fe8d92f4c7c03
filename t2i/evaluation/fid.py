"""FID: Frechet distance between two sets of features seen as Gaussians (Heusel et al. 2017, arXiv:1706.08500, eq. 6).

    FID = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2),   S with ddof = 1 (divided by N - 1)

`t2i/evaluation/gaussian.py` says how it is computed. FID at finite N is biased upwards by about 1/N (identical
distributions of width 2048: 29.5 at N = 250, 3.8 at 2000), so only sets of equal size can be compared.
"""

from dataclasses import replace

import numpy as np

from t2i.evaluation import checks, fid_difference
from t2i.evaluation.gaussian import Gaussian, distance
from t2i.evaluation.intervals import LEVEL, Interval, jackknife
from t2i.evaluation.measurement import Inputs, Measurement
from t2i.evaluation.paired import PairedDifference

GROUPS = 20
"""Replicates of the jackknife: each costs singular values of size min(N, M, D)."""


def frechet_distance(generated: np.ndarray, reference: np.ndarray) -> float:
    """FID of `generated` (N, D) against `reference` (M, D), in float64; at least 0.

    Raises UserError for fewer than two samples, non-finite values or different widths.
    """
    first, second = checks.feature_pair(generated, reference)
    return distance(Gaussian.of(first), Gaussian.of(second))


def frechet_from_moments(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """FID of means (D,) and symmetric positive semidefinite covariances (D, D), in float64.

    Raises UserError for non-finite values or shapes that do not fit.
    """
    for name, mean, cov in (("first", mean1, cov1), ("second", mean2, cov2)):
        checks.features(f"{name} covariance", cov, least=1)
        checks.features(f"{name} mean", mean[None], least=1)
        checks.same_width(f"{name} mean", mean[None], f"{name} covariance", cov)
        checks.same_width(f"{name} covariance", cov, "transposed", cov.T)
    checks.same_width("first mean", mean1[None], "second mean", mean2[None])
    return distance(Gaussian.from_moments(mean1, cov1), Gaussian.from_moments(mean2, cov2))


def fid_interval(generated: np.ndarray, reference: np.ndarray, seed: int, groups: int = GROUPS) -> Interval:
    """FID with a jackknife interval over the generated images; the reference stays fixed, as in any comparison.

    It says how sure this FID at this N is; the bias of FID at finite N itself stays in the number.
    """
    first, second = checks.feature_pair(generated, reference)
    real = Gaussian.of(second)
    value = distance(Gaussian.of(first), real)

    def without(part: np.ndarray) -> float:
        return distance(Gaussian.of(np.delete(first, part, axis=0)), real)

    return jackknife(value, len(first), without, seed, groups)


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`fid` with its interval."""
    assert inputs.reference is not None
    return {"fid": Measurement(fid_interval(inputs.generated, inputs.reference, inputs.seed))}


def difference(base: Inputs, tuned: Inputs) -> dict[str, PairedDifference]:
    """FID of `tuned` minus that of `base`, by swaps of pairs; where they find a change, its size by a bootstrap."""
    assert base.reference is not None
    sets = base.generated, tuned.generated, base.reference
    found = fid_difference.frechet_difference(*sets, base.seed)
    if found.p <= 1.0 - LEVEL:
        found = replace(found, size=fid_difference.frechet_bootstrap(*sets, base.seed))
    return {"fid": found}
