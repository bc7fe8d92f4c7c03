"""Contributions are those of leaving one sample out, exactly, for every metric; what belongs together counts once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.checks import feature_pair
from t2i.evaluation.metrics import cmmd, fid, inception_score, kid, vendi
from t2i.evaluation.statistics import terms_file
from t2i.evaluation.statistics.frechet import frechet_terms
from t2i.evaluation.statistics.mmd import Discrepancy
from t2i.evaluation.statistics.terms import Terms, Units, interval, of_mean, spread
from t2i.randomness import generator

Value = Callable[[np.ndarray, np.ndarray], float]
Made = Callable[[np.ndarray, np.ndarray], Terms]
METRICS: dict[str, tuple[Value, Made]] = {
    "fid": (fid.frechet_distance, lambda x, y: frechet_terms(*feature_pair(x, y))),
    "kid": (kid.kernel_distance, lambda x, y: Discrepancy.of(kid.polynomial, x, y).terms()),
    "cmmd": (cmmd.cmmd, lambda x, y: Discrepancy.of(cmmd._scaled, *cmmd._unit_pair(x, y)).terms()),
    "vendi": (lambda x, _: vendi.vendi(x), lambda x, _: vendi.vendi_terms(x)),
    "inception_score": (
        lambda x, _: inception_score.inception_score(softmax(x)),
        lambda x, _: inception_score.inception_score_terms(softmax(x)),
    ),
}


def softmax(values: np.ndarray) -> np.ndarray:
    raised = np.exp(values)
    return raised / raised.sum(axis=1, keepdims=True)


def sets(count: int, real: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = generator("terms", count, real, width)
    spectrum = np.arange(1, width + 1) ** -0.7
    return rng.standard_normal((count, width)) * spectrum + 0.3, rng.standard_normal((real, width)) * spectrum


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("count", "real", "width"), [(30, 25, 8), (20, 30, 60), (40, 90, 30), (60, 20, 30), (3, 3, 5)])
def test_contributions_are_those_of_leaving_one_out(name: str, count: int, real: int, width: int) -> None:
    value, made = METRICS[name]
    x, y = sets(count, real, width)
    found = made(x, y)
    assert found.value == pytest.approx(value(x, y), rel=1e-9, abs=1e-12)
    assert found.generated is not None
    without = np.array([value(np.delete(x, i, axis=0), y) for i in range(count)])
    size = np.abs(without).max()
    assert found.generated == pytest.approx((count - 1) * (without.mean() - without), abs=2e-5 * size * count)
    if found.reference is not None:
        without = np.array([value(x, np.delete(y, j, axis=0)) for j in range(real)])
        assert found.reference == pytest.approx((real - 1) * (without.mean() - without), abs=2e-5 * size * real)


def test_contributions_of_a_wide_fid_come_from_its_covariances() -> None:
    """700 and 800 samples of width 560: the route through the Cholesky factor."""
    x, y = sets(700, 800, 560)
    found = frechet_terms(x, y)
    assert found.generated is not None and found.reference is not None
    for i in (0, 311):
        pair = [fid.frechet_distance(np.delete(x, k, axis=0), y) for k in (i, i + 1)]
        assert found.generated[i + 1] - found.generated[i] == pytest.approx(699 * (pair[0] - pair[1]), abs=1e-4)
        pair = [fid.frechet_distance(x, np.delete(y, k, axis=0)) for k in (i, i + 1)]
        assert found.reference[i + 1] - found.reference[i] == pytest.approx(799 * (pair[0] - pair[1]), abs=1e-4)


def test_a_mean_by_hand_and_its_units() -> None:
    found = of_mean(np.array([1.0, 3.0, np.nan, 2.0]))
    assert found.value == 2.0
    assert found.generated == pytest.approx([-4 / 3, 4 / 3, 0.0, 0.0])
    # Two pictures: contributions -4/3 + 4/3 and 0 cancel, so nothing is left of the variance.
    assert spread(found, Units(np.array([7, 7, 8, 8])), world=False).variance == 0.0


def test_a_picture_and_its_caption_are_drawn_together() -> None:
    """Where what the generated picture adds is what its real picture takes away, the value does not move."""
    own = np.array([1.0, -2.0, 1.0, 0.5, -0.5])
    linked = Terms(0.0, generated=own, reference=-own)
    apart = spread(linked, Units(), world=True).variance
    together = spread(linked, Units(np.arange(5), np.arange(5)), world=True).variance
    same = spread(linked, Units(), world=False).variance
    assert together == pytest.approx(same) == pytest.approx(apart / 2)  # never surer than with a reference that stays
    moved = Terms(0.0, generated=own, reference=own)
    assert (
        spread(moved, Units(np.array([7, -3, 10**9, 4, 0]), np.array([7, -3, 10**9, 4, 0])), world=True).variance
        > apart
    )


def test_one_picture_with_half_of_the_captions_leaves_few_degrees_of_freedom() -> None:
    owner = np.concatenate([np.zeros(20, int), np.arange(1, 21)])
    found = spread(of_mean(np.arange(40.0)), Units(owner), world=False)
    assert (found.units, found.freedom) == (21, pytest.approx(40**2 / (20**2 + 20) - 1))


def test_labels_that_do_not_fit_are_one_sentence() -> None:
    with pytest.raises(UserError, match="3 labels of pictures and 4 samples"):
        spread(of_mean(np.arange(4.0)), Units(np.arange(3)), world=False)


@pytest.mark.parametrize("name", ["fid", "memorisation", "kid", "vendi", "fid_infinity"])
def test_a_collapsed_model_has_numbers(name: str) -> None:
    """Every picture alike, on either side."""
    from t2i.evaluation.metrics.measurement import Inputs
    from t2i.evaluation.metrics.registry import METRICS

    spread_out, alike = sets(40, 40, 6)[0], np.ones((40, 6))
    for generated, reference in ((alike, spread_out), (spread_out, alike), (alike, alike)):
        for own in METRICS[name].measure(Inputs(generated, 0, reference, train=spread_out)).values():
            assert np.isfinite(own.interval.value) and own.interval.low <= own.interval.value <= own.interval.high


def test_values_stay_in_their_range_and_equal_ones_have_a_width() -> None:
    assert interval(Terms(0.0, lowest=0.0, generated=np.array([1.0, -1, 0])), Units(), world=False).low == 0.0
    covered = Terms(1.0, lowest=0.0, highest=1.0, generated=np.zeros(100), samples=100)
    assert interval(covered, Units(), world=True).low == pytest.approx(1 / (1 + 1.959964**2 / 100), rel=1e-5)


def test_terms_come_back_from_their_file_and_from_a_database(tmp_path: Path) -> None:
    terms = {
        "a[toy]": Terms(1.5, 2.0, 0.0, np.inf, generated=np.array([1.0, -1.0]), reference=np.array([0.5, 0.0, -0.5])),
        "b[toy]": Terms(0.5, lowest=0.0, highest=1.0, hits=np.array([1.0, np.nan])),
        "c[toy]": Terms(0.5, noise=np.ones(3), samples=9),
    }
    units = Units(np.array([4, 4]), np.arange(3))
    terms_file.save(tmp_path / "terms.npz", terms, units)
    back, where = terms_file.load(tmp_path / "terms.npz")
    assert where.generated is not None and where.reference is not None
    assert where.generated.tolist() == [4, 4] and where.reference.tolist() == [0, 1, 2]
    for found in (back, {name: terms_file.restored(terms_file.plain(own, units))[0] for name, own in terms.items()}):
        assert list(found) == list(terms)
        for name, own in terms.items():
            for field in (*terms_file.PLAIN, "generated", "reference", "noise", "hits"):
                np.testing.assert_array_equal(getattr(found[name], field), getattr(own, field))
