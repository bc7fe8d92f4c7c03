"""FID differences of paired sets: exchanged pairs are the sets they say, and 400 replicates at N = 1,000 are quick."""

import time

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation import fid, fid_difference
from t2i.evaluation.fid import frechet_distance
from t2i.evaluation.fid_difference import frechet_bootstrap, frechet_difference
from t2i.evaluation.measurement import Inputs
from t2i.randomness import generator


def sets(count: int = 30, width: int = 40, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = generator("fid difference", count, width)
    shared = rng.standard_normal((count, width))
    return (
        shared + rng.standard_normal((count, width)) + 0.5,
        shared + rng.standard_normal((count, width)) + 0.5 + shift,
        1.4 * rng.standard_normal((2 * count, width)),
    )


def test_difference_is_that_of_the_two_values() -> None:
    base, tuned, real = sets()
    expected = frechet_distance(tuned, real) - frechet_distance(base, real)
    for found in (frechet_difference(base, tuned, real, 0, 40).difference, frechet_bootstrap(base, tuned, real, 0, 40)):
        assert found.value == pytest.approx(expected, rel=1e-9)
        assert found.low < found.value < found.high


def test_replicates_are_fid_of_the_exchanged_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    base, tuned, real = sets()
    seen = {}

    def spy(change: float, swapped: object, samples: int, seed: int, replicates: int) -> None:
        tosses = generator("tosses").integers(0, 2, (3, samples)).astype(bool)
        seen["found"], seen["tosses"] = swapped(tosses), tosses  # type: ignore[operator]

    monkeypatch.setattr(fid_difference, "swap_test", spy)
    frechet_difference(base, tuned, real, 0)
    for value, toss in zip(seen["found"], seen["tosses"], strict=True):
        after, before = np.where(toss[:, None], base, tuned), np.where(toss[:, None], tuned, base)
        assert value == pytest.approx(frechet_distance(after, real) - frechet_distance(before, real), rel=1e-6)


def test_a_real_change_is_seen_and_equal_sets_are_not() -> None:
    base, tuned, real = sets(shift=0.6)
    worse = frechet_difference(base, tuned, real, 0, 200)
    assert worse.difference.low > 0 and worse.p < 0.05 and frechet_bootstrap(base, tuned, real, 0, 200).low > 0
    alike = frechet_difference(base, base, real, 0, 50)
    assert (alike.difference.value, alike.p) == (0.0, 1.0)


def test_a_found_change_has_a_size_that_does_not_assume_there_is_none() -> None:
    base, tuned, real = sets(shift=0.6)
    inputs = [Inputs(generated, 0, 100, reference=real) for generated in (base, tuned)]
    found = fid.difference(*inputs)["fid"]
    assert found.size == frechet_bootstrap(base, tuned, real, 0)
    assert fid.difference(inputs[0], inputs[0])["fid"].size is None


def test_unequal_sets_are_one_sentence() -> None:
    base, tuned, real = sets()
    with pytest.raises(UserError, match="30 base samples and 29 tuned samples"):
        frechet_difference(base, tuned[1:], real, 0)


@pytest.mark.slow
@pytest.mark.parametrize("test", [frechet_difference, frechet_bootstrap])
def test_400_replicates_at_1000_samples_take_less_than_a_minute(test: object) -> None:
    rng = generator("quick")
    base, tuned, real = (rng.standard_normal((1000, 2048)) for _ in range(3))
    start = time.process_time()
    test(base, tuned, real, 0)  # type: ignore[operator]
    assert time.process_time() - start < 60
