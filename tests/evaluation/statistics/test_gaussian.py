"""Gaussians from features and from streams, and the nuclear norm by two ways."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.metrics.fid_pool import Pool
from t2i.evaluation.statistics import gaussian
from t2i.evaluation.statistics.gaussian import Gaussian, Moments, distance, nuclear_norm_by_gram
from t2i.randomness import generator


def draw(key: str, samples: int, width: int, offset: float = 0.0) -> np.ndarray:
    rng = generator("gaussian", key)
    return rng.standard_normal((samples, width)) * np.arange(1, width + 1) ** -0.5 + offset


@pytest.mark.parametrize(("samples", "width"), [(12, 30), (30, 12), (40, 600), (700, 600)])
def test_factor_is_a_root_of_the_covariance(samples: int, width: int) -> None:
    features = draw("root", samples, width, offset=3.0)
    found = Gaussian.of(features)
    np.testing.assert_allclose(found.factor.T @ found.factor, np.cov(features, rowvar=False), atol=1e-12)
    np.testing.assert_allclose(found.mean, features.mean(0))
    assert len(found.factor) == min(samples - 1, width)


def test_a_singular_covariance_has_a_root() -> None:
    cov = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    found = Gaussian.from_moments(np.zeros(3), cov)
    np.testing.assert_allclose(found.factor.T @ found.factor, cov, atol=1e-12)


def test_streamed_batches_and_merged_streams_equal_the_whole_set() -> None:
    features = draw("stream", 101, 7, offset=1e4)  # far from zero: sums of squares would lose eight digits
    first, second, empty = Moments(7), Moments(7), Moments(7)
    for batch in np.split(features[:60], [1, 8, 40]):
        first.add(batch)
    second.add(features[60:])
    first.merge(second)
    first.merge(empty)
    assert first.count == 101
    np.testing.assert_allclose(first.mean, features.mean(0), rtol=1e-14)
    np.testing.assert_allclose(first.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-12)
    assert distance(first.gaussian(), Gaussian.of(features)) == pytest.approx(0.0, abs=1e-9)


def test_a_stream_refuses_what_a_set_refuses() -> None:
    stream = Moments(3)
    with pytest.raises(UserError, match="holds 0 sample"):
        _ = stream.covariance
    with pytest.raises(UserError, match="non-finite"):
        stream.add(np.array([[1.0, np.nan, 0.0]]))
    with pytest.raises(UserError, match="5 wide"):
        stream.add(np.ones((2, 5)))
    with pytest.raises(UserError, match="4"):
        stream.merge(Moments(4))


def test_nuclear_norm_by_gram_is_right_and_knows_its_error() -> None:
    matrix = generator("norm").standard_normal((60, 80))
    exact = np.linalg.svd(matrix, compute_uv=False).sum()
    norm, error = nuclear_norm_by_gram(matrix)
    assert abs(norm - exact) < 1e-9 and error < 1e-9
    # Forty singular values of zero come out as the root of rounding noise, and the estimate says so.
    singular = matrix[:, :20] @ generator("low rank").standard_normal((20, 80))
    norm, error = nuclear_norm_by_gram(singular)
    exact = np.linalg.svd(singular, compute_uv=False).sum()
    assert abs(norm - exact) <= 3 * error and error > 1e-8


def test_large_sets_fall_back_to_singular_values_where_the_gram_is_not_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "_SVD_SIZE", 4)
    features = draw("large", 50, 90)
    assert distance(Gaussian.of(features), Gaussian.of(features)) == pytest.approx(0.0, abs=1e-9)
    other = draw("other", 40, 90)
    by_gram = distance(Gaussian.of(features), Gaussian.of(other))
    monkeypatch.setattr(gaussian, "_SVD_SIZE", 1000)
    assert by_gram == pytest.approx(distance(Gaussian.of(features), Gaussian.of(other)), rel=1e-9)


def test_full_covariances_meet_by_one_congruence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "_QR_WIDTH", 16)
    monkeypatch.setattr(gaussian, "_SVD_SIZE", 16)
    first, second = draw("first", 200, 40, 1.0), draw("second", 300, 40)
    found = Gaussian.of(first), Gaussian.of(second)
    assert found[0].cov is not None and found[1].cov is not None
    factors = [np.linalg.qr(x - x.mean(0), mode="r") / np.sqrt(len(x) - 1) for x in (first, second)]
    norm = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    traces = sum(np.cov(x, rowvar=False).trace() for x in (first, second))
    expected = np.square(first.mean(0) - second.mean(0)).sum() + traces - 2 * norm
    assert distance(*found) == pytest.approx(expected, rel=1e-10)
    # A reference whose covariance is singular has no Cholesky factor; its root by eigenvectors is no triangle.
    flat = second.copy()
    flat[:, -5:] = flat[:, :5]
    cov = np.cov(flat, rowvar=False)
    assert distance(found[0], Gaussian.from_moments(flat.mean(0), cov)) == pytest.approx(
        distance(found[0], Gaussian(flat.mean(0), rows=(flat - flat.mean(0)) / np.sqrt(299))), rel=1e-7
    )


@pytest.mark.parametrize(("pool", "reference", "width"), [(60, 50, 80), (90, 30, 80), (60, 200, 20)])
def test_subsets_of_a_pool_have_the_distance_of_the_subset(pool: int, reference: int, width: int) -> None:
    rows, real = draw("pool", pool, width, 2.0), Gaussian.of(draw("real", reference, width))
    found = Pool.of(rows, real)
    order = generator("order").permutation(pool)
    sizes = [5, 17, pool // 2, pool]
    expected = [distance(Gaussian.of(rows[order[:size]]), real) for size in sizes]
    assert found.prefixes(order, sizes) == pytest.approx(expected, rel=1e-6)
    some = order[: pool // 2]
    without = [distance(Gaussian.of(rows[np.delete(some, i)]), real) for i in range(len(some))]
    assert found.without_each(some) == pytest.approx(without, rel=1e-5)
