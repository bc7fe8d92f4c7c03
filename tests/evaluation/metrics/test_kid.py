"""KID by hand on two points a side, and its interval."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.metrics.kid import kernel_distance, measure
from t2i.evaluation.metrics.measurement import Inputs
from t2i.evaluation.statistics import mmd
from t2i.evaluation.statistics.intervals import Interval
from t2i.randomness import generator


def kid_interval(generated: np.ndarray, reference: np.ndarray) -> Interval:
    return measure(Inputs(generated, 0, reference))["kid"].interval


LOW, HIGH = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])


def test_two_points_a_side() -> None:
    # k(0, 1) = 1; k(2, 3) = 7^3 = 343; across 1, 1, 27, 64: mean 23.25
    assert kernel_distance(LOW, HIGH) == pytest.approx(1 + 343 - 2 * 23.25) == pytest.approx(297.5)


def test_is_negative_for_a_set_with_itself() -> None:
    # Off the diagonal 1; across 1, 1, 1 and k(1, 1) = 8: mean 2.75
    assert kernel_distance(LOW, LOW) == pytest.approx(1 + 1 - 2 * 2.75) == pytest.approx(-3.5)


def test_kernel_divides_by_the_width() -> None:
    assert kernel_distance(np.repeat(LOW, 5, axis=1), np.repeat(HIGH, 5, axis=1)) == pytest.approx(297.5)


def test_blocks_do_not_change_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = generator("kid blocks")
    a, b = rng.standard_normal((50, 6)), rng.standard_normal((37, 6)) + 0.3
    whole = kid_interval(a, b)
    monkeypatch.setattr(mmd, "BLOCK", 8)
    blocked = kid_interval(a, b)
    assert (blocked.value, blocked.low, blocked.high) == pytest.approx((whole.value, whole.low, whole.high), rel=1e-9)


def test_is_unbiased_at_small_n() -> None:
    """The mean over many small draws of one distribution is zero within four standard errors."""
    rng = generator("kid unbiased")
    values = [kernel_distance(rng.standard_normal((5, 4)), rng.standard_normal((5, 4))) for _ in range(800)]
    assert abs(np.mean(values)) < 4 * np.std(values) / len(values) ** 0.5


def test_interval_holds_the_value_and_leaves_out_zero_for_distant_sets() -> None:
    rng = generator("kid interval")
    a, b = rng.standard_normal((100, 8)), rng.standard_normal((100, 8)) + 2
    found = kid_interval(a, b)
    assert 0 < found.low < found.value == kernel_distance(a, b) < found.high


def test_one_sample_is_one_sentence() -> None:
    with pytest.raises(UserError, match="1 sample"):
        kernel_distance(LOW[:1], HIGH)
