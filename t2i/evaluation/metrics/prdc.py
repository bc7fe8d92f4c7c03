"""Precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991, eq. 1-2), density and coverage (Naeem et al. 2020,
arXiv:2002.09797, eq. 4-5): is a generated image among the real ones, and does every real one have a generated near it?

Around each sample lies a ball that reaches its k-th nearest neighbour in its own set, itself not counted. For precision and
recall balls are closed (a distance equal to the radius, to rounding, is inside), as in Kynkaanniemi's eq. 1 and code; for
density and coverage they are open, as in the code that Naeem et al. published. They differ where distances are equal: for
equal sets and copies.

    precision: share of the generated samples inside at least one real ball
    recall:    share of the real samples inside at least one generated ball
    density:   real balls that hold a generated sample, mean over these, divided by k; may exceed 1
    coverage:  share of the real balls that hold at least one generated sample
"""

from dataclasses import dataclass

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.metrics.balls import Balls, Held, balls, held, slack_of
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.statistics.forecast import foretell
from t2i.evaluation.statistics.terms import Terms, left_one_out

K = 5
"""Neighbours, as Naeem et al. choose (Kynkaanniemi et al.: 3)."""

NAMES = ("precision", "recall", "density", "coverage")

LEAST = 40
"""Images of a side below which there is a number, and neither interval nor test: a change that so few neighbours could show is
larger than any, and in a table a test costs the others."""


@dataclass(frozen=True)
class Neighbours:
    """Which balls hold what, of N generated and M real samples."""

    real: Balls
    fake: Balls
    precision: Held
    """Generated samples in closed real balls."""
    recall: Held
    """Real samples in closed generated balls."""
    density: Held
    """Generated samples in open real balls, for coverage too."""

    def numbers(self) -> dict[str, float]:
        """The four, by their names."""
        k = self.real.nearest.shape[1]
        return {
            "precision": float((self.precision.counts > 0).mean()),
            "recall": float((self.recall.counts > 0).mean()),
            "density": float(self.density.counts.mean()) / k,
            "coverage": float((self.density.inside > 0).mean()),
        }

    def terms(self) -> dict[str, Terms]:
        """What each sample contributes to each number.

        A number is a mean over the samples of one side, of what the samples of the other side decide: exact for the first,
        and for the second by leaving each of them out. That counts interactions of many samples more than once, so a standard
        error is never too small for it (Efron & Stein 1981), and was up to three times too large where two models are alike.
        (Parts of both sets, which show interactions once, are too small to show them as they are: in a world of thirty kinds
        of things they found changes that are not there in 19 to 30 of 100 comparisons.)
        """
        k, numbers = self.real.nearest.shape[1], self.numbers()
        count, real = len(self.precision.counts), len(self.recall.counts)
        known = min(count, real) >= LEAST
        covered = (self.density.inside > 0).astype(np.float64)
        further = self.real.of_neighbours(self.density.grown - self.density.inside)
        covers = self.real.of_neighbours((self.density.grown > 0) - covered)
        sides = {
            "precision": (_centred(self.precision.counts > 0), _left_out(self.precision, count)),
            "recall": (_left_out(self.recall, real), _centred(self.recall.counts > 0)),
            "density": (
                _centred(self.density.counts / k),
                left_one_out((self.density.inside.sum() - self.density.inside + further) / (k * count)),
            ),
            "coverage": (
                left_one_out((covered.sum() - self.density.alone) / real),
                left_one_out((covered.sum() - covered + covers) / (real - 1)),
            ),
        }
        return {
            name: Terms(
                numbers[name],
                scale=1.0,
                lowest=0.0,
                highest=np.inf if name == "density" else 1.0,
                generated=generated if known else None,
                reference=reference if known else None,
                samples=min(count, real),
            )
            for name, (generated, reference) in sides.items()
        }


def _centred(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean(), np.float64)


def _left_out(found: Held, points: int) -> np.ndarray:
    """Contributions of the samples around which the balls are to the share of points that they hold."""
    return left_one_out(((found.counts > 0).sum() - found.lost) / points)


def precision_recall_density_coverage(real: np.ndarray, fake: np.ndarray, k: int = K) -> dict[str, float]:
    """`precision`, `recall`, `density` and `coverage` of generated features `fake` (N, D) for `real` (M, D).

    Raises UserError for non-finite values, different widths, or a set of k samples or fewer.
    """
    return neighbours(*checked(real, fake, k), k).numbers()


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """All four, with the value of each generated image for precision and density."""
    assert inputs.reference is not None
    real, fake = checked(inputs.reference, inputs.generated, K)
    foretell("precision and recall", len(fake), len(real), lambda rows: neighbours(real[rows], fake[rows], K))
    found = neighbours(real, fake, K)
    per_sample = {
        "precision": (found.precision.counts > 0).astype(np.float64),
        "density": found.density.counts / K,
    }
    return {name: measured(terms, inputs.units, per_sample.get(name)) for name, terms in found.terms().items()}


difference = between(measure)


def checked(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as float64 around the mean of the real one, which keeps digits; UserError for what cannot be used."""
    if k < 1:
        raise UserError(f"k={k} neighbours: expected at least 1")
    generated, reference = checks.feature_pair(fake, real, least=k + 1)
    origin = reference.mean(axis=0)
    return reference - origin, generated - origin


def neighbours(real: np.ndarray, fake: np.ndarray, k: int) -> Neighbours:
    """Of checked sets (M, D) and (N, D): memory grows like the sets, and time like their product."""
    own, generated, slack = balls(real, k), balls(fake, k), slack_of(real, fake)
    precision, density = held(own, fake, slack, True, False)
    (recall,) = held(generated, real, slack, True)
    return Neighbours(own, generated, precision, recall, density)
