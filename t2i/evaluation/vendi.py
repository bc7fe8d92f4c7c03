"""Vendi score: how many different images a set effectively holds (Friedman & Dieng 2022, arXiv:2210.02410, def. 3.1).

    VS = exp( - sum_i l_i log l_i ),   l_i the eigenvalues of K / N,   K_ij = cosine of features i and j

Between 1 (all alike) and N (all orthogonal). It needs no reference and grows with N: compare sets of equal size.
"""

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.intervals import Interval, jackknife
from t2i.evaluation.measurement import Inputs, Measurement
from t2i.evaluation.paired import PairedDifference, swap_test
from t2i.evaluation.zero_shot import unit

GROUPS = 20
"""Replicates of the jackknife: each costs eigenvalues of size min(N, D). So too the swaps."""

REPLICATES = 200


def vendi(features: np.ndarray) -> float:
    """Score of `features` (N, D), any length of rows, in float64; UserError for non-finite or zero features."""
    return _score(unit("generated", features))


def vendi_interval(features: np.ndarray, seed: int) -> Interval:
    """Score with a jackknife interval over the images.

    A set without some of its images has a little less to show; the jackknife's spread does not depend on that.
    """
    rows = unit("generated", features)
    return jackknife(_score(rows), len(rows), lambda part: _score(np.delete(rows, part, axis=0)), seed, GROUPS)


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`vendi` with its interval."""
    return {"vendi": Measurement(vendi_interval(inputs.generated, inputs.seed))}


def difference(base: Inputs, tuned: Inputs) -> dict[str, PairedDifference]:
    """Score of `tuned` minus that of `base`, by swaps of pairs."""
    first, second = unit("base", base.generated), unit("tuned", tuned.generated)
    checks.same_length("base samples", first, "tuned samples", second)
    checks.same_width("base", first, "tuned", second)

    def swapped(tosses: np.ndarray) -> np.ndarray:
        sides = [(np.where(toss[:, None], second, first), np.where(toss[:, None], first, second)) for toss in tosses]
        return np.array([_score(after) - _score(before) for before, after in sides])

    replicates = min(REPLICATES, base.replicates)
    return {"vendi": swap_test(_score(second) - _score(first), swapped, len(first), base.seed, replicates)}


def _score(rows: np.ndarray) -> float:
    """Of unit rows. X X' and X' X have the same non-zero eigenvalues: the smaller one is taken."""
    from scipy.special import entr

    small = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    return float(np.exp(entr(np.clip(np.linalg.eigvalsh(small / len(rows)), 0.0, None)).sum()))
