"""FID: Frechet distance between two sets of features seen as Gaussians (Heusel et al. 2017, arXiv:1706.08500, eq. 6).

    FID = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2),   S with ddof = 1 (divided by N - 1)

`t2i/evaluation/statistics/gaussian.py` says how it is computed. FID at finite N is biased upwards by about 1/N (identical
distributions of width 2048: 29.5 at N = 250, 3.8 at 2000), so only sets of equal size can be compared.
"""

from dataclasses import replace

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import REFERENCE, Inputs, Measurement, between, measured
from t2i.evaluation.statistics.frechet import frechet_terms, frechet_terms_of_moments
from t2i.evaluation.statistics.gaussian import Gaussian, distance


def frechet_distance(generated: np.ndarray, reference: np.ndarray) -> float:
    """FID of `generated` (N, D) against `reference` (M, D), in float64; at least 0.

    Raises UserError for fewer than two samples, non-finite values or different widths.
    """
    first, second = checks.feature_pair(generated, reference, exact=False)
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


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`fid` with its interval: how sure this FID at this N is; its bias at finite N stays in the number."""
    if inputs.reference is None:
        assert inputs.moments is not None
        generated = checks.features("generated", inputs.generated)
        checks.same_width("generated", generated, "reference", inputs.moments.mean[None])
        found = measured(frechet_terms_of_moments(generated, inputs.moments), inputs.units)
        return {"fid": replace(found, scope=REFERENCE)}
    return {"fid": measured(frechet_terms(*checks.feature_pair(inputs.generated, inputs.reference)), inputs.units)}


difference = between(measure)
