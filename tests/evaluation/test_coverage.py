"""Base against base with other seeds: how often the 95 % interval of the difference holds zero, for every metric that has one.

A world of 64 features with a falling spectrum, cut off below zero as Inception's are: what two sets share by their prompts
is half of their variance, the rest is drawn from Student's t with five degrees of freedom, and the real images differ from
both in mean and scale.
"""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest

from t2i.evaluation import registry
from t2i.evaluation.measurement import Inputs
from t2i.evaluation.paired import PairedDifference

TESTED = [name for name, metric in registry.METRICS.items() if metric.difference is not None]


def base_against_base(count: int, width: int, seed: int) -> tuple[Inputs, Inputs]:
    """Two sets of `count` images from the same prompts by one model, and what metrics compare them with."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, width + 1) ** -0.5
    prompts = rng.standard_normal((count, width))

    def positive(values: np.ndarray) -> np.ndarray:
        return np.maximum(values * scale + 0.2, 0.0).astype(np.float32)

    def generated() -> np.ndarray:
        noise = rng.standard_normal((count, width)) * np.sqrt(3.0 / rng.chisquare(5, (count, 1)))
        return positive((prompts + noise) * 0.5**0.5)

    reference = positive(1.1 * rng.standard_normal((count, width)) + 0.1 / scale)
    texts = positive(prompts)
    classes = rng.standard_normal((8, width))
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    accepted = [frozenset([int(index)]) for index in (texts @ classes.T).argmax(axis=1)]
    train = positive(rng.standard_normal((150, width)))
    others = [np.abs(rng.standard_normal((2, width))) + text for text in texts]

    def inputs() -> Inputs:
        return Inputs(
            generated(),
            seed,
            400,
            reference,
            texts,
            classes,
            accepted,
            logit_scale=20.0,
            train=train,
            other_texts=others,
        )

    return inputs(), inputs()


def coverage(
    difference: Callable[[Inputs, Inputs], dict[str, PairedDifference]], comparisons: int, count: int, width: int
) -> dict[str, float]:
    """Share of the comparisons in which the interval holds zero, by number."""
    held = defaultdict(list)
    for seed in range(comparisons):
        for key, found in difference(*base_against_base(count, width, seed)).items():
            held[key].append(found.difference.low <= 0.0 <= found.difference.high)
    return {key: float(np.mean(values)) for key, values in held.items()}


@pytest.mark.parametrize("name", TESTED)
def test_no_change_is_rarely_taken_for_one(name: str) -> None:
    """30 comparisons: 24 or fewer would be seen once in 10,000 times if the coverage were 95 %."""
    difference = registry.METRICS[name].difference
    assert difference is not None
    for key, share in coverage(difference, 30, 40, 16).items():
        assert share > 24 / 30, (key, share)


@pytest.mark.slow
@pytest.mark.parametrize("name", TESTED)
def test_the_interval_holds_zero_in_92_to_98_of_100_comparisons(name: str) -> None:
    difference = registry.METRICS[name].difference
    assert difference is not None
    for key, share in coverage(difference, 200, 100, 64).items():
        print(f"{key}: {share:.3f}")
        assert 0.92 <= share <= 0.98, (key, share)
