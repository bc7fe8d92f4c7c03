"""How long work on all pairs of two sets takes, told before it begins: it grows with the square of the samples."""

import logging
import time
from collections.abc import Callable

from t2i.evaluation.statistics.mmd import blocks, tiles
from t2i.spoken import duration

log = logging.getLogger("t2i")

LEAST = 100
"""Tiles of pairs below which nothing is timed: the three that are timed would be more than a thirtieth."""

LONG = 20.0
"""Seconds from which on the reader is told."""


def foretell(what: str, generated: int, reference: int, some: Callable[[slice], object]) -> float:
    """Says about how long `what` will take on so many samples, if that is long; seconds, 0 where nothing was timed.

    some: does the work for the rows of one tile of either set, which is three tiles: each set with itself, and both.
    """
    count = (
        sum(1 for _ in tiles(generated))
        + sum(1 for _ in tiles(reference))
        + sum(1 for _ in tiles(generated, reference))
    )
    if count < LEAST:
        return 0.0
    start = time.perf_counter()
    some(blocks(min(generated, reference))[0])
    seconds = (time.perf_counter() - start) / 3 * count
    if seconds >= LONG:
        log.info(
            f"{what} of {generated:,} pictures and {reference:,} of the reference: all pairs are looked at, about "
            f"{duration(seconds)}; with half as many of both a quarter of that"
        )
    return seconds
