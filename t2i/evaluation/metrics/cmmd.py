"""CMMD: squared MMD of unit CLIP features with a Gaussian kernel (Jayasumana et al. 2024, arXiv:2401.09603, sec. 4).

    k(x, y) = exp(-|x - y|^2 / (2 * 10^2)),   CMMD = 1000 * MMD^2

`cmmd` is the unbiased estimate, around 0 for two alike sets at every N. The authors' published code and numbers take the
diagonals in (`cmmd_biased`): never negative, and for two alike sets of N and M samples above the unbiased one by about
1000 (1 - mean k) (1 / N + 1 / M). Of CLIP features only; the authors use ViT-L/14 at 336 pixels.
"""

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.metrics.measurement import REFERENCE, Inputs, Measurement, between, measured
from t2i.evaluation.metrics.zero_shot import unit
from t2i.evaluation.statistics import mmd
from t2i.evaluation.statistics.terms import interval

SIGMA = 10.0
SCALE = 1000.0


def cmmd(generated: np.ndarray, reference: np.ndarray, biased: bool = False) -> float:
    """CMMD of CLIP features `generated` (N, D) and `reference` (M, D), any length of rows, in float64.

    Raises UserError for fewer than two samples, non-finite or zero features, or different widths.
    """
    found = mmd.Discrepancy.of(_scaled, *_unit_pair(generated, reference))
    return found.biased if biased else found.value


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`cmmd` with its interval; `cmmd_biased`, as published, with its own and no test: what it is above 0 is N's."""
    assert inputs.reference is not None
    found = mmd.Discrepancy.of(_scaled, *_unit_pair(inputs.generated, inputs.reference))
    biased = interval(found.biased_terms(), inputs.units, world=False)
    return {
        "cmmd": measured(found.terms(), inputs.units),
        "cmmd_biased": Measurement(biased, scope=REFERENCE),
    }


difference = between(measure)


def _unit_pair(generated: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = checks.feature_pair(generated, reference)
    return unit("generated", first), unit("reference", second)


def _scaled(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1000 times the kernel of rows of unit length, whose squared distance is 2 - 2 x.y."""
    values: np.ndarray = SCALE * np.exp((x @ y.T - 1.0) / SIGMA**2)
    return values
