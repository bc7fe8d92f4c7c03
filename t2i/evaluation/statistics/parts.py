"""The variance of a statistic from what whole parts of the data say.

Both sets are cut by lot into G parts (a picture with all images that were made from its captions), again and again. The parts
of one cut are independent, so the variance of their mean is var(parts) / G; for a statistic of local structure (who is whose
nearest neighbour) the variance falls like 1 / N, with all interactions in it, so that is the variance of the whole too (Politis,
Romano & Wolf 1999, "Subsampling", ch. 2). Two models that are cut alike are compared part by part.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from t2i.evaluation.statistics.terms import Units
from t2i.progress import progress
from t2i.randomness import generator

LARGEST = 1000
"""Images of a part, about: the work of all parts then grows like N and not like its square."""

CUTS = 40
"""Independent differences of parts that are looked at, about: the variance is good to sqrt(2 / 40), which t allows for."""


@dataclass(frozen=True)
class Parts:
    """Cuts of both sets; each cut is a list of parts, each part rows of the generated and of the reference images."""

    cuts: list[list[tuple[np.ndarray, np.ndarray]]]

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance."""
        return float(sum(len(cut) - 1 for cut in self.cuts))


def parts_of(generated: int, reference: int, units: Units, seed: int, most: int, least: int) -> Parts | None:
    """The cuts of sets of these sizes, the same for equal arguments; `most`: cuts at most. None where a part would have
    fewer than `least` images of a side.
    """
    own = np.arange(generated) if units.generated is None else units.generated
    groups = max(2, -(-max(generated, reference) // LARGEST))
    rng = generator("evaluation", "parts", seed, generated, reference)
    cuts = []
    for _ in range(max(1, min(most, -(-CUTS // (groups - 1))))):
        place = _by_lot(np.unique(own), groups, rng)(own)
        # Each set by a lot of its own: a real picture beside the one drawn for its caption would make parts closer to each
        # other than wholes are, and changes that are not there were found in 17 of 100 comparisons of 40 pictures.
        place_real = rng.permutation(reference) % groups
        cut = [(np.flatnonzero(place == part), np.flatnonzero(place_real == part)) for part in range(groups)]
        if min(min(len(rows), len(others)) for rows, others in cut) < least:
            return None
        cuts.append(cut)
    return Parts(cuts)


def replicates(parts: Parts, statistic: Callable[[np.ndarray, np.ndarray], np.ndarray], what: str) -> np.ndarray:
    """float64 (R, k): the squares of each column sum up to the variance of the statistic's k numbers."""
    found = []
    for cut in progress(parts.cuts, what, "cut"):
        values = np.stack([statistic(rows, real_rows) for rows, real_rows in cut])
        found.append((values - values.mean(axis=0)) / np.sqrt(len(cut) * (len(cut) - 1) * len(parts.cuts)))
    return np.concatenate(found)


def _by_lot(names: np.ndarray, groups: int, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Which part each name is in, the parts as even as can be: names (n,) sorted to parts (n,)."""
    lot = rng.permutation(len(names)) % groups
    return lambda asked: lot[np.searchsorted(names, asked)]
