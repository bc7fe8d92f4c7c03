"""Vendi score: how many different images a set effectively holds (Friedman & Dieng 2022, arXiv:2210.02410, def. 3.1).

    VS = exp( - sum_i l_i log l_i ),   l_i the eigenvalues of K / N,   K_ij = cosine of features i and j

Between 1 (all alike) and N (all orthogonal). It needs no reference and grows with N: compare sets of equal size.
"""

import numpy as np

from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.zero_shot import unit
from t2i.evaluation.statistics.leave_one_out import entropy_losses
from t2i.evaluation.statistics.terms import Terms, left_one_out


def vendi(features: np.ndarray) -> float:
    """Score of `features` (N, D), any length of rows, in float64; UserError for non-finite or zero features."""
    return vendi_terms(features).value


def vendi_terms(features: np.ndarray) -> Terms:
    """Score of `features` (N, D) with the contribution of each image: the score without it, from one decomposition.

    A set without some of its images has a little less to show; the spread of the contributions does not depend on that.
    """
    rows = unit("generated", features)
    count = len(rows)
    # X X' and X' X have the same non-zero eigenvalues: the smaller one is taken.
    if small := count < rows.shape[1]:
        values, vectors = np.linalg.eigh(rows @ rows.T)
    else:
        values, vectors = np.linalg.eigh(rows.T @ rows)
    kept = values > 1e-12 * values[-1]
    values, vectors = values[kept], vectors[:, kept]
    squares = np.square(vectors) * values if small else np.square(rows @ vectors)
    total = float(values @ np.log(values))
    score = float(np.exp(np.log(count) - total / count))
    if count < 3:
        return Terms(score, 1.0, 1.0)
    without = np.exp(np.log(count - 1) - (total - entropy_losses(values, squares)) / (count - 1))
    return Terms(score, score, 1.0, generated=left_one_out(without))


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`vendi` with its interval."""
    return {"vendi": measured(vendi_terms(inputs.generated), inputs.units)}


difference = between(measure)
