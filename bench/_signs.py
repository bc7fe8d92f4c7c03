"""Which of many paired differences are there, of few units: p values adjusted for all of them by exchanging signs."""

import numpy as np

MOST_EXACT = 14
"""Units up to which all 2^n exchanges are gone through; beyond them as many are drawn."""


def adjusted(differences: np.ndarray) -> np.ndarray:
    """p values (m,) of m mean differences, adjusted for all m; float64 in, (n, m): a row a unit, as a subject is.

    Where nothing differs a unit's differences are as likely with the opposite sign, all of them together; the largest
    statistic of an exchange is what chance alone has as its largest. Step down: Westfall & Young 1993, "Resampling-Based
    Multiple Testing", algorithm 2.8; Romano & Wolf 2005, JASA 100. With n units the least p is 2 / 2^n for any m, where
    Bonferroni's and Holm's is m times that. AssertionError for differences that are not finite.
    """
    assert np.isfinite(differences).all()
    count = len(differences)
    if count <= MOST_EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(2**MOST_EXACT, count))
        signs[0] = 1.0  # what was seen is one of them
    size = np.sqrt((differences**2).sum(axis=0))
    # |sum| over the root of the squares, which no exchange changes: monotone in Student's t.
    exchanged = np.abs(signs @ (differences / np.where(size > 0.0, size, 1.0)))
    seen = exchanged[0] - 1e-9  # rounding: the mirrored exchange is as large
    order = np.argsort(-seen)
    largest = np.maximum.accumulate(exchanged[:, order][:, ::-1], axis=1)[:, ::-1]  # of what is not yet decided
    shares = (largest >= seen[order]).mean(axis=0)
    found = np.empty_like(seen)
    found[order] = np.maximum.accumulate(shares)
    return found
