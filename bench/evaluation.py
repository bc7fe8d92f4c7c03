"""Metrics from features against their usual formulas: FID, KID, FID-infinity, PRDC.

Run as `OMP_NUM_THREADS=1 python -m bench evaluation`: one process, one thread, processor time, both sides in turns. Equality
is looked at first: a faster number that is another number counts for nothing. What is only ever computed once is timed once.
For N >= 2,048 the reference is kept on both sides, as every second evaluation against the same set has it: ours in a stage,
torchmetrics' by `reset_real_features=False`.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from bench._measure import profile, ratio, rounded, timed

WIDTH = 2048
Numbers = Any
"""A float, or a list of them."""


def run(rounds: int = 3, sqrtm: int = 1, width: int = WIDTH, divide: int = 1) -> dict[str, Any]:
    """Seconds of both sides and the median of the rounds' ratios.

    `sqrtm=0` leaves out the minutes of SciPy at 2,048; `divide` makes every set so many times smaller.
    """
    assert os.environ.get("OMP_NUM_THREADS") == "1", "type OMP_NUM_THREADS=1 before the command"

    def features(samples: int, key: int) -> np.ndarray:
        return _features(max(40, samples // divide), key, width)

    measured: dict[str, Any] = {}
    for name, measure in (
        ("fid_40", lambda: _fid(features(40, 1), features(40, 2), rounds)),
        ("fid_1000", lambda: _fid(features(1000, 1), features(1000, 2), rounds)),
        ("fid_2048", lambda: _fid_kept(features(2100, 1), features(2100, 2), rounds)),
        ("fid_10000", lambda: _fid_kept(features(10_000, 1), features(10_000, 2), rounds)),
        ("fid_moments", lambda: _fid_of_moments(features(10_000, 1), features(10_000, 2), rounds)),
        ("fid_infinity", lambda: _fid_infinity(features(5000, 1), features(5000, 2), min(rounds, 2))),
        ("kid_subsets", lambda: _kid(features(5000, 1), features(5000, 2), 1000 // divide, rounds)),
        ("prdc", lambda: _prdc(features(5000, 1), features(5000, 2), rounds)),
        ("fid_40_scipy_sqrtm", lambda: _fid_by_sqrtm(features(40, 1), features(40, 2)) if sqrtm else None),
        ("fid_2048_scipy_sqrtm", lambda: _fid_by_sqrtm(features(2100, 1), features(2100, 2)) if sqrtm else None),
    ):
        if found := measure():
            measured[name] = found
            print(name, found, flush=True)
    return {
        "what": f"float32 features of width {width}, cut off below zero, one thread, processor time",
        "results_equal": True,
        **measured,
    }


def _features(samples: int, key: int, width: int) -> np.ndarray:
    """Like Inception's: not negative, a falling spectrum, directions that are shared."""
    rng = np.random.default_rng([key, samples])
    basis = np.random.default_rng(0).standard_normal((width, width)) * np.arange(1, width + 1)[:, None] ** -0.5
    return np.maximum(rng.standard_normal((samples, width)) @ basis / 4 + 0.3 + 0.05 * key, 0).astype(np.float32)


def _compare(
    ours: Callable[[], Numbers], theirs: Callable[[], Numbers], rounds: int, tolerance: float
) -> dict[str, Any]:
    """Both in turns; AssertionError unless the results agree to `tolerance` relative."""
    times: tuple[list[float], list[float]] = ([], [])
    differs = 0.0
    for _ in range(rounds):
        spent, mine = timed(ours)
        taken, other = timed(theirs)
        times[0].append(spent)
        times[1].append(taken)
        differs = float(np.max(np.abs(np.asarray(mine) - other) / np.maximum(np.abs(other), 1e-12)))
        assert differs <= tolerance, (mine, other)
    return _result(times[0], times[1], differs)


def _result(ours: list[float], theirs: list[float], differs: float) -> dict[str, Any]:
    return {
        "ours_s": [rounded(value) for value in ours],
        "theirs_s": [rounded(value) for value in theirs],
        **ratio(theirs, ours),
        "relative_difference": float(f"{differs:.2g}"),
    }


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = features.astype(np.float64)
    return values.mean(axis=0), np.cov(values, rowvar=False)


def _fid(generated: np.ndarray, reference: np.ndarray, rounds: int) -> dict[str, Any]:
    """From the features of both sets, against torchmetrics' formula (eigenvalues of the product of covariances)."""
    import torch
    from torchmetrics.image.fid import _compute_fid

    from t2i.evaluation.metrics.fid import frechet_distance

    def theirs() -> float:
        moments = [torch.from_numpy(part) for side in (generated, reference) for part in _moments(side)]
        return float(_compute_fid(*moments))

    # Eigenvalues of a product that is not symmetric are good to about 1e-4, of a singular one less.
    found = _compare(lambda: frechet_distance(generated, reference), theirs, rounds, tolerance=2e-2)
    return {"samples": len(generated), **found, **_truth(frechet_distance(generated, reference), generated, reference)}


def _truth(value: float, generated: np.ndarray, reference: np.ndarray) -> dict[str, bool]:
    """AssertionError unless the value is that of singular values to 1e-8."""
    exact = _by_svd(generated, reference)
    assert abs(value - exact) <= 1e-8 * exact, (value, exact)
    return {"equal_to_svd": True}


def _by_svd(generated: np.ndarray, reference: np.ndarray) -> float:
    """The truth: singular values, nothing squared."""
    factors, means = [], []
    for side in (generated, reference):
        values = side.astype(np.float64)
        means.append(values.mean(axis=0))
        factor = (values - means[-1]) / np.sqrt(len(values) - 1)
        factors.append(np.linalg.qr(factor, mode="r") if len(factor) > factor.shape[1] else factor)
    norm = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    return float(np.square(means[0] - means[1]).sum() + sum(np.square(f).sum() for f in factors) - 2 * norm)


def _torchmetrics(reference: np.ndarray) -> Any:
    """torchmetrics' own class, given features as pictures, with the reference's sums in it."""
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Through(torch.nn.Module):
        num_features = reference.shape[1]

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features

    metric = FrechetInceptionDistance(feature=Through(), reset_real_features=False)
    metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(reference), real=True)
    return metric


def _fid_kept(generated: np.ndarray, reference: np.ndarray, rounds: int) -> dict[str, Any]:
    """From generated features to the distance, the reference kept on both sides; theirs in one update, the best case."""
    import torch

    from t2i.evaluation import checks
    from t2i.evaluation.statistics.gaussian import Gaussian, distance

    metric = _torchmetrics(reference)
    real = Gaussian.of(reference.astype(np.float64))
    assert real.factor is not None  # kept with it

    def ours() -> float:
        return distance(Gaussian.of(checks.features("generated", generated, exact=False)), real)

    def theirs() -> float:
        metric.reset()
        metric.update(torch.from_numpy(generated), real=False)
        return float(metric.compute())

    found = _compare(ours, theirs, rounds, tolerance=1e-4)  # theirs comes out as float32
    return {
        "samples": len(generated),
        **found,
        **_truth(ours(), generated, reference),
        "profile": profile(ours),
        "their_profile": profile(theirs),
    }


def _fid_of_moments(generated: np.ndarray, reference: np.ndarray, rounds: int) -> dict[str, Any]:
    """What follows once means and covariances are known: `compute()` alone."""
    import torch

    from t2i.evaluation.statistics.gaussian import Gaussian, distance

    metric = _torchmetrics(reference)
    metric.update(torch.from_numpy(generated), real=False)
    real, moments = Gaussian.of(reference.astype(np.float64)), _moments(generated)
    assert real.factor is not None

    def ours() -> float:
        return distance(Gaussian.from_moments(*moments), real)

    def theirs() -> float:
        metric._computed = None
        return float(metric.compute())

    found = _compare(ours, theirs, rounds, tolerance=1e-4)
    return {**found, "profile": profile(ours), "their_profile": profile(theirs)}


def _root_term(covariances: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    return float(np.trace(np.asarray(sqrtm(covariances))).real)


def _sqrtm_fid(generated: np.ndarray, real: tuple[np.ndarray, np.ndarray]) -> float:
    mean, cov = _moments(generated)
    trace = np.trace(cov) + np.trace(real[1]) - 2 * _root_term(cov @ real[1])
    return float(np.square(mean - real[0]).sum() + trace)


def _fid_by_sqrtm(generated: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Against the formula as pytorch-fid and clean-fid have it, the reference kept on both sides; once."""
    from t2i.evaluation import checks
    from t2i.evaluation.statistics.gaussian import Gaussian, distance

    real, moments = Gaussian.of(reference.astype(np.float64)), _moments(reference)
    assert real.factor is not None

    def ours() -> float:
        return distance(Gaussian.of(checks.features("generated", generated, exact=False)), real)

    ours()
    # The root of a singular product is one of rounding noise.
    found = _compare(ours, lambda: _sqrtm_fid(generated, moments), 1, tolerance=5e-2)
    return {"samples": len(generated), **found}


def _fid_infinity(generated: np.ndarray, reference: np.ndarray, rounds: int) -> dict[str, Any]:
    """Fifteen sizes from features. Of theirs three roots are computed (the first, the middle, the last) and counted
    five times: one takes 20 s, and about as long at every size."""
    from t2i.evaluation.metrics.fid_infinity import _order, fid_points

    count = len(generated)
    sizes = np.linspace(max(2, count // 10), count, 15).astype(int)
    order, some = _order(count, 0), [0, 7, 14]
    ours, theirs, differs = [], [], 0.0
    for _ in range(rounds):
        taken, points = timed(lambda: fid_points(generated, reference)[1])
        ours.append(taken)
        fixed, real = timed(lambda: _moments(reference))
        spent, values = timed(lambda real=real: [_sqrtm_fid(generated[order[: sizes[i]]], real) for i in some])
        theirs.append(fixed + spent * 15 / len(some))
        differs = float(np.max(np.abs(points[some] - values) / np.abs(values)))
        assert differs <= 1e-3, (points[some], values)  # SciPy's roots of singular products
    return {
        "samples": count,
        "theirs_timed": f"{len(some)} of 15 roots, scaled",
        **_result(ours, theirs, differs),
        "profile": profile(lambda: fid_points(generated, reference)),
    }


def _kid(x: np.ndarray, y: np.ndarray, size: int, rounds: int) -> dict[str, Any]:
    """A hundred subsets of 1,000 of 5,000: kernels once and indicator matrices, against three kernels for each subset."""
    from t2i.evaluation.metrics.kid import kernel_distance_subsets, polynomial, subset_rows

    x, y = x.astype(np.float64), y.astype(np.float64)
    chosen = subset_rows(len(x), 100, size, 0), subset_rows(len(y), 100, size, 1)

    def one(a: np.ndarray, b: np.ndarray) -> float:
        first, second, across = polynomial(a, a), polynomial(b, b), polynomial(a, b)
        pairs = len(a) * (len(a) - 1)
        within = first.sum() - np.trace(first) + second.sum() - np.trace(second)
        return float(within / pairs - 2 * across.mean())

    def ours() -> list[float]:
        return list(kernel_distance_subsets(x, y, *chosen))

    def theirs() -> list[float]:
        return [one(x[a], y[b]) for a, b in zip(*chosen, strict=True)]

    found = _compare(ours, theirs, rounds, tolerance=1e-9)
    return {"samples": len(x), "subsets": 100, "size": size, **found, "profile": profile(ours)}


def _prdc(real: np.ndarray, fake: np.ndarray, rounds: int) -> dict[str, Any]:
    """Against whole distance matrices, as the package `prdc` has them; and the memory of both."""
    import tracemalloc

    from t2i.evaluation.metrics.prdc import precision_recall_density_coverage

    k = 5

    def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squares = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * x @ y.T
        return np.asarray(np.sqrt(np.maximum(squares, 0)))

    def theirs() -> list[float]:
        x, y = real.astype(np.float64), fake.astype(np.float64)
        radii = [np.partition(distances(side, side), k, axis=1)[:, k] for side in (x, y)]
        between = distances(x, y)
        inside = between < radii[0][:, None]
        recall = (between < radii[1]).any(axis=1).mean()
        return [
            inside.any(axis=0).mean(),
            recall,
            inside.sum(axis=0).mean() / k,
            (between.min(axis=1) < radii[0]).mean(),
        ]

    def ours() -> list[float]:
        return list(precision_recall_density_coverage(real, fake, k).values())

    found = _compare(ours, theirs, rounds, tolerance=1e-9)
    peaks = []
    for work in (ours, theirs):
        tracemalloc.start()
        work()
        peaks.append(round(tracemalloc.get_traced_memory()[1] / 2**20, 1))
        tracemalloc.stop()
    memory = {"ours_peak_mib": peaks[0], "theirs_peak_mib": peaks[1], "less_memory": rounded(peaks[1] / peaks[0])}
    return {"samples": len(real), "k": k, **found, **memory, "profile": profile(ours)}
