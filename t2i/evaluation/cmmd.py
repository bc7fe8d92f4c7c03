"""CMMD: squared MMD of unit CLIP features with a Gaussian kernel (Jayasumana et al. 2024, arXiv:2401.09603, sec. 4).

    k(x, y) = exp(-|x - y|^2 / (2 * 10^2)),   CMMD = 1000 * MMD^2

With the diagonals taken in (the biased estimate, never negative), as the authors' published code and numbers have it;
for two alike sets of N samples it exceeds the unbiased one by about 1000 (1 - mean k) 2 / N. Of CLIP features only; the
authors use ViT-L/14 at 336 pixels.
"""

import numpy as np

from t2i.evaluation import checks, mmd
from t2i.evaluation.intervals import Interval
from t2i.evaluation.measurement import Inputs, Measurement
from t2i.evaluation.paired import PairedDifference
from t2i.evaluation.zero_shot import unit

SIGMA = 10.0
SCALE = 1000.0


def cmmd(generated: np.ndarray, reference: np.ndarray, biased: bool = True) -> float:
    """CMMD of CLIP features `generated` (N, D) and `reference` (M, D), any length of rows, in float64.

    Raises UserError for fewer than two samples, non-finite or zero features, or different widths.
    """
    return mmd.Discrepancy.of(_scaled, *_unit_pair(generated, reference), biased).value


def cmmd_interval(generated: np.ndarray, reference: np.ndarray) -> Interval:
    """CMMD with a jackknife interval over the generated images, the reference fixed."""
    return mmd.Discrepancy.of(_scaled, *_unit_pair(generated, reference), biased=True).interval()


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`cmmd` with its interval."""
    assert inputs.reference is not None
    return {"cmmd": Measurement(cmmd_interval(inputs.generated, inputs.reference))}


def difference(base: Inputs, tuned: Inputs) -> dict[str, PairedDifference]:
    """CMMD of `tuned` minus that of `base`, by swaps of pairs."""
    assert base.reference is not None
    checks.same_length("base samples", base.generated, "tuned samples", tuned.generated)
    first, real = _unit_pair(base.generated, base.reference)
    second, _ = _unit_pair(tuned.generated, base.reference)
    return {"cmmd": mmd.paired_test(_scaled, first, second, real, True, base.seed, base.replicates)}


def _unit_pair(generated: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = checks.feature_pair(generated, reference)
    return unit("generated", first), unit("reference", second)


def _scaled(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1000 times the kernel of rows of unit length, whose squared distance is 2 - 2 x.y."""
    values: np.ndarray = SCALE * np.exp((x @ y.T - 1.0) / SIGMA**2)
    return values
