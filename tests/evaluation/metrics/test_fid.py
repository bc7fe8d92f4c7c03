"""FID against closed forms, against the eigenvalue form of torchmetrics, and its interval."""

import time

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.metrics.fid import frechet_distance, frechet_from_moments, measure
from t2i.evaluation.metrics.measurement import REFERENCE, Inputs
from t2i.randomness import generator


def with_moments(mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """2 D samples whose mean and covariance (ddof = 1) are exactly these: pairs on either side of the mean."""
    width = len(mean)
    root = np.linalg.cholesky(cov).T * np.sqrt((2 * width - 1) / 2)
    return mean + np.concatenate([root, -root])


def shared(width: int, samples: int, *key: str) -> np.ndarray:
    """Correlated features with a mean."""
    rng = generator("fid", *key)
    return rng.standard_normal((samples, width)) @ rng.standard_normal((width, width)) / width**0.5 + rng.random(width)


CLOSED_FORMS = {
    "identity_shifted_by_one": (np.zeros(256), np.eye(256), np.ones(256), np.eye(256), 256.0),
    "diagonal": (
        np.zeros(3),
        np.diag([1.0, 4.0, 9.0]),
        np.array([1.0, 2.0, 2.0]),
        np.diag([4.0, 1.0, 16.0]),
        12.0,  # 1 + 4 + 4 for the means; (1-2)^2 + (2-1)^2 + (3-4)^2 for the standard deviations
    ),
    # S1 S2 = [[6, 1], [3, 2]]: trace 8, determinant 9, so tr of its root is sqrt(8 + 2 * 3); 4 + 4 - 2 sqrt(14)
    "correlated": (
        np.zeros(2),
        np.array([[2.0, 1.0], [1.0, 2.0]]),
        np.zeros(2),
        np.diag([3.0, 1.0]),
        0.516685226,
    ),
}


@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_closed_forms_from_moments(case: str) -> None:
    *moments, expected = CLOSED_FORMS[case]
    assert frechet_from_moments(*moments) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_closed_forms_from_features(case: str) -> None:
    mean1, cov1, mean2, cov2, expected = CLOSED_FORMS[case]
    assert frechet_distance(with_moments(mean1, cov1), with_moments(mean2, cov2)) == pytest.approx(expected, abs=1e-9)


def test_disjoint_supports_have_no_cross_term() -> None:
    first, second = np.diag([2.0, 0.0]), np.diag([0.0, 5.0])
    assert frechet_from_moments(np.zeros(2), first, np.zeros(2), second) == pytest.approx(7.0, abs=1e-12)
    a, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[0.0, 2.0], [0.0, -2.0]])
    assert frechet_distance(a, b) == pytest.approx(2.0 + 8.0, abs=1e-12)


@pytest.mark.parametrize(("samples", "width"), [(40, 300), (300, 40), (2, 3)])
def test_a_set_against_itself_is_zero(samples: int, width: int) -> None:
    features = shared(width, samples, "self") * 10
    assert frechet_distance(features, features) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("n", "m", "width"), [(30, 50, 80), (30, 200, 80), (200, 30, 80), (150, 200, 80)])
def test_cross_gram_and_eigen_forms_agree(n: int, m: int, width: int) -> None:
    a, b = shared(width, n, "a"), shared(width, m, "b")
    moments = (a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))
    assert frechet_distance(a, b) == pytest.approx(frechet_from_moments(*moments), rel=1e-9)


def test_equals_torchmetrics_on_random_features() -> None:
    fid_module = pytest.importorskip("torchmetrics.image.fid")
    import torch

    a, b = shared(48, 200, "a"), shared(48, 300, "b")
    theirs = fid_module._compute_fid(
        *(torch.from_numpy(array) for x in (a, b) for array in (x.mean(0), np.cov(x, rowvar=False)))
    )
    assert frechet_distance(a, b) == pytest.approx(float(theirs), rel=1e-9)


def test_covariance_divides_by_n_minus_one() -> None:
    # Variances of {-1, 1}: 2 with ddof = 1, 1 with ddof = 0; (sqrt(8) - sqrt(2))^2 = 2.
    assert frechet_distance(np.array([[-1.0], [1.0]]), np.array([[-2.0], [2.0]])) == pytest.approx(2.0, abs=1e-12)


def test_interval_lies_around_the_value_and_is_quick() -> None:
    a, b = shared(512, 300, "a"), shared(512, 300, "b")
    start = time.perf_counter()
    found = measure(Inputs(a, 0, b))["fid"]
    assert time.perf_counter() - start < 20
    assert found.interval.low < found.interval.value == frechet_distance(a, b) < found.interval.high
    assert found.scope == REFERENCE and found.world is not None
    assert found.world.low < found.interval.low and found.interval.high < found.world.high


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.array([[0.0, np.nan], [1.0, 2.0]]), "non-finite"),
        (np.array([[0.0, np.inf], [1.0, 2.0]]), "non-finite"),
        (np.ones((1, 2)), "1 sample"),
        (np.ones((4, 3)), "3 wide"),
        (np.ones(4), r"\(N, D\)"),
    ],
)
def test_bad_features_are_one_sentence(features: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        frechet_distance(features, np.arange(6.0).reshape(3, 2))
