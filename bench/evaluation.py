"""Metrics from features against their usual formulas: FID, KID, FID-infinity, PRDC, and 400 replicates of a difference.

Run as `OMP_NUM_THREADS=1 python -m bench evaluation`: one process, one thread, processor time, both sides in turns. Equality
is looked at first: a faster number that is another number counts for nothing. What is only ever computed once is timed once.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

WIDTH = 2048


def run(rounds: int = 3, sqrtm: int = 1) -> dict[str, Any]:
    """Seconds of both sides and the median of the rounds' ratios; `sqrtm=0` leaves out the minutes of SciPy at 2,048."""
    assert os.environ.get("OMP_NUM_THREADS") == "1", "type OMP_NUM_THREADS=1 before the command"
    measured: dict[str, Any] = {}
    for name, measure in (
        ("fid_40", lambda: _fid(40, rounds)),
        ("fid_1000", lambda: _fid(1000, rounds)),
        ("fid_10000", lambda: _fid(10_000, rounds)),
        ("fid_infinity", lambda: _fid_infinity(rounds)),
        ("kid_subsets", lambda: _kid(rounds)),
        ("prdc", lambda: _prdc(rounds)),
        ("difference_bootstrap", lambda: _difference(rounds, "bootstrap")),
        ("difference_swaps", lambda: _difference(rounds, "swaps")),
        ("fid_1000_scipy_sqrtm", lambda: _fid_by_sqrtm(1000) if sqrtm else None),
    ):
        if found := measure():
            measured[name] = found
            print(name, found, flush=True)
    return {"what": f"float32 features of width {WIDTH}, cut off below zero, one thread, processor time", **measured}


def _features(samples: int, key: int, width: int = WIDTH) -> np.ndarray:
    """Like Inception's: not negative, a falling spectrum, directions that are shared."""
    rng = np.random.default_rng([key, samples])
    basis = np.random.default_rng(0).standard_normal((width, width)) * np.arange(1, width + 1)[:, None] ** -0.5
    return np.maximum(rng.standard_normal((samples, width)) @ basis / 4 + 0.3 + 0.05 * key, 0).astype(np.float32)


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def _compare(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, tolerance: float) -> dict[str, Any]:
    """Both in turns; AssertionError unless the results agree to `tolerance` relative."""
    times: tuple[list[float], list[float]] = ([], [])
    differs = 0.0
    for _ in range(rounds):
        spent, mine = _seconds(ours)
        taken, other = _seconds(theirs)
        times[0].append(spent)
        times[1].append(taken)
        differs = float(np.max(np.abs(np.asarray(mine) - other) / np.maximum(np.abs(other), 1e-12)))
        assert differs <= tolerance, (mine, other)
    ratios = [other / mine for mine, other in zip(*times, strict=True)]
    return {
        "ours_s": [round(value, 3) for value in times[0]],
        "theirs_s": [round(value, 3) for value in times[1]],
        "times_faster_median": round(statistics.median(ratios), 2),
        "times_faster_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "relative_difference": float(f"{differs:.2g}"),
    }


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = features.astype(np.float64)
    return values.mean(axis=0), np.cov(values, rowvar=False)


def _fid(samples: int, rounds: int) -> dict[str, Any]:
    """Against torchmetrics' formula (eigenvalues of the product of covariances), from features; and with the reference's
    Gaussian kept, as a second evaluation against the same set has it."""
    import torch
    from torchmetrics.image.fid import _compute_fid

    from t2i.evaluation.fid import frechet_distance
    from t2i.evaluation.gaussian import Gaussian, distance

    generated, reference = _features(samples, 1), _features(samples, 2)

    def theirs() -> float:
        moments = [torch.from_numpy(part) for side in (generated, reference) for part in _moments(side)]
        return float(_compute_fid(*moments))

    # Eigenvalues of a product that is not symmetric are good to about 1e-4, of a singular one less.
    found = _compare(lambda: frechet_distance(generated, reference), theirs, rounds, tolerance=2e-2)
    real = Gaussian.of(reference.astype(np.float64))
    spent, value = _seconds(lambda: distance(Gaussian.of(generated.astype(np.float64)), real))
    exact = _by_svd(generated, reference) if samples > 40 else value
    assert abs(value - exact) <= 1e-8 * exact, (value, exact)
    return {"samples": samples, **found, "ours_with_kept_reference_s": round(spent, 3), "equal_to_svd": True}


def _by_svd(generated: np.ndarray, reference: np.ndarray) -> float:
    """The truth: singular values, nothing squared."""
    factors, means = [], []
    for side in (generated, reference):
        values = side.astype(np.float64)
        means.append(values.mean(axis=0))
        factor = (values - means[-1]) / np.sqrt(len(values) - 1)
        factors.append(np.linalg.qr(factor, mode="r") if len(factor) > WIDTH else factor)
    norm = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    return float(np.square(means[0] - means[1]).sum() + sum(np.square(f).sum() for f in factors) - 2 * norm)


def _sqrtm_fid(generated: np.ndarray, reference: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    (mean1, cov1), (mean2, cov2) = _moments(generated), _moments(reference)
    root = np.asarray(sqrtm(cov1 @ cov2))
    return float(np.square(mean1 - mean2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(root).real)


def _fid_by_sqrtm(samples: int) -> dict[str, Any]:
    from t2i.evaluation.fid import frechet_distance

    generated, reference = _features(samples, 1), _features(samples, 2)
    ours = lambda: frechet_distance(generated, reference)  # noqa: E731
    return {"samples": samples, **_compare(ours, lambda: _sqrtm_fid(generated, reference), 1, tolerance=2e-2)}


def _fid_infinity(rounds: int) -> dict[str, Any]:
    """Fifteen sizes at width 512, where fifteen roots of SciPy still take less than a minute."""
    from t2i.evaluation.fid_infinity import _order, fid_points

    generated, reference = _features(5000, 1, 512), _features(5000, 2, 512)
    sizes = np.linspace(500, 5000, 15).astype(int)
    order = _order(5000, 0)

    def theirs() -> list[float]:
        return [_sqrtm_fid(generated[order[:size]], reference) for size in sizes]

    found = _compare(lambda: fid_points(generated, reference)[1], theirs, rounds, tolerance=1e-5)
    return {"samples": 5000, "width": 512, **found}


def _kid(rounds: int) -> dict[str, Any]:
    """A hundred subsets of 1,000 of 5,000: kernels once and indicator matrices, against three kernels for each subset."""
    from t2i.evaluation.kid import kernel_distance_subsets, polynomial, subset_rows

    x, y = _features(5000, 1).astype(np.float64), _features(5000, 2).astype(np.float64)
    chosen = subset_rows(5000, 100, 1000, 0), subset_rows(5000, 100, 1000, 1)

    def one(a: np.ndarray, b: np.ndarray) -> float:
        first, second, across = polynomial(a, a), polynomial(b, b), polynomial(a, b)
        pairs = len(a) * (len(a) - 1)
        within = first.sum() - np.trace(first) + second.sum() - np.trace(second)
        return float(within / pairs - 2 * across.mean())

    def theirs() -> list[float]:
        return [one(x[a], y[b]) for a, b in zip(*chosen, strict=True)]

    return {
        "samples": 5000,
        "subsets": 100,
        "size": 1000,
        **_compare(lambda: kernel_distance_subsets(x, y, *chosen), theirs, rounds, tolerance=1e-8),
    }


def _prdc(rounds: int) -> dict[str, Any]:
    """Against whole distance matrices, as the package `prdc` has them; and the memory of both."""
    import tracemalloc

    from t2i.evaluation.prdc import precision_recall_density_coverage

    real, fake, k = _features(5000, 1), _features(5000, 2), 5

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
        peaks.append(round(tracemalloc.get_traced_memory()[1] / 2**20))
        tracemalloc.stop()
    return {"samples": 5000, "k": k, **found, "ours_peak_mib": peaks[0], "theirs_peak_mib": peaks[1]}


def _difference(rounds: int, kind: str) -> dict[str, Any]:
    """400 replicates of a FID difference at 1,000 pairs; theirs: FID from features twice a replicate, four of them timed."""
    from t2i.evaluation.fid import frechet_distance
    from t2i.evaluation.fid_difference import frechet_bootstrap, frechet_difference
    from t2i.evaluation.intervals import resample_counts

    base, tuned, real = _features(1000, 1), _features(1000, 2), _features(1000, 3)
    test = frechet_bootstrap if kind == "bootstrap" else frechet_difference
    ours = [_seconds(lambda: test(base, tuned, real, 0, 400))[0] for _ in range(min(rounds, 2))]
    counts = resample_counts(1000, 0, 4)

    def theirs() -> None:
        for count in counts:
            rows = np.repeat(np.arange(1000), count)
            frechet_distance(tuned[rows], real)
            frechet_distance(base[rows], real)

    taken = _seconds(theirs)[0] * 400 / len(counts)
    return {
        "samples": 1000,
        "replicates": 400,
        "ours_s": [round(value, 1) for value in ours],
        "fid_from_features_each_time_s": round(taken, 1),
        "target_s": 60,
    }
