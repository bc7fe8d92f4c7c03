"""Worlds in which a known share of a model's pictures is of nothing, for what metrics of sets can see of it (tools/needed.py)."""

from collections.abc import Sequence

import numpy as np

from t2i.evaluation.metrics import registry
from t2i.evaluation.metrics.measurement import Inputs, Measurement, changes
from t2i.evaluation.statistics.terms import Units

WIDTH, KINDS, SPREAD = 64, 30, 0.5
"""Of features; kinds of things in the world; how far pictures lie from the centre of theirs, which is 1 from the world's."""
SHARED = 0.5
"""Of a picture's variance that both models have in common, as they start from the same noise."""


def pair(rng: np.random.Generator, count: int, broken: float) -> tuple[Inputs, Inputs]:
    """The sets of two models, of the same `count` captions and seeds, against as many real pictures of these captions.

    A picture lies about the centre of its kind. Of the first model's the share `broken` is of nothing: about no kind, as far
    from the centre of the world as the others.
    """
    centres = rng.standard_normal((KINDS, WIDTH)) / WIDTH**0.5
    kinds = rng.integers(KINDS, size=count)
    common = rng.standard_normal((count, WIDTH))

    def drawn() -> np.ndarray:
        own = SHARED**0.5 * common + (1.0 - SHARED) ** 0.5 * rng.standard_normal((count, WIDTH))
        return centres[kinds] + SPREAD * own / WIDTH**0.5

    first, second = drawn(), drawn()
    lost = rng.permutation(count) < round(broken * count)
    far = rng.standard_normal((count, WIDTH)) * (1.0 + SPREAD**2) ** 0.5 / WIDTH**0.5
    first[lost] = far[lost]
    reference = centres[kinds] + SPREAD * rng.standard_normal((count, WIDTH)) / WIDTH**0.5
    units = Units(np.arange(count), np.arange(count))

    def inputs(features: np.ndarray) -> Inputs:
        logits = 20.0 * features @ centres.T
        return Inputs(
            features.astype(np.float32), 0, reference.astype(np.float32), logits=logits.astype(np.float32), units=units
        )

    return inputs(first), inputs(second)


def p_of(metrics: Sequence[str], first: Inputs, second: Inputs) -> dict[str, float]:
    """p of the verdict's test that each number of these metrics changed."""
    found: list[dict[str, Measurement]] = [{}, {}]
    for name in metrics:
        for own, inputs in zip(found, (first, second), strict=True):
            own |= registry.METRICS[name].measure(inputs)
    return {name: own.p for name, own in changes(*found, first.units).items()}
