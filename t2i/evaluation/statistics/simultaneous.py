"""Several sets against each other, where the one that is named is chosen by looking at all of them.

The best of K is the one whose chance was kindest, too (the winner's curse): tests of it against the others, adjusted for those
K - 1, find a difference among ten equal sets in 13 of 100 tables. So p values are adjusted for all pairs: whichever set is
named, its pairs are among them (Tukey 1953, "The Problem of Multiple Comparisons"; Hsu 1984, Annals of Statistics 12, for
comparisons with the best). By Holm's method, which holds however the tests hang together.
"""

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from typing import TypeVar

from t2i.evaluation.statistics.paired import FEW, PairedDifference, difference, holm
from t2i.evaluation.statistics.terms import Terms, Units

Name = TypeVar("Name", bound=Hashable)


def pairwise(terms: Sequence[Terms | None], units: Units) -> dict[tuple[int, int], PairedDifference]:
    """How the later of every two sets differs from the earlier, by their places; all from the same captions and seeds.

    Sets without terms, of other numbers of pictures, or too few for a test, are not compared.
    """
    found = {}
    for i, j in combinations(range(len(terms)), 2):
        first, second = terms[i], terms[j]
        if first is not None and second is not None and first.alike(second):
            own = difference(first, second, units)
            if own.test != FEW:
                found[i, j] = own
    return found


def adjusted(found: Mapping[Name, PairedDifference]) -> dict[Name, float]:
    """Their p values, adjusted for all of them (Holm 1979)."""
    return dict(zip(found, holm([own.p for own in found.values()]).tolist(), strict=True)) if found else {}
