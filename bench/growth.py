"""Cost and memory against size: pictures prepared, samples in FID, PRDC, KID and FID's interval, cells in a sweep.

    python -m bench growth                       1,000 to 100,000 pictures, 1,000 to 50,000 samples: half an hour
    python -m bench growth --pictures=10000      no more pictures than that

The exponent is the slope of the line through log size and log cost: 1 is linear, 2 quadratic. The range is that of the slopes
between neighbouring sizes. Processor time; memory is the peak of what numpy holds, or of all processes (`prepare_memory`).
FID has the width 600, beyond which nothing in it changes, PRDC, KID and the interval 64: at 2,048 they would take an hour.
"""

import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import rounded, timed
from bench.prepare_memory import SCRATCH, _dataset, _peak
from bench.startup import PROJECT, _processor_seconds

SAMPLES = (1000, 3000, 10_000, 30_000, 50_000)
PICTURES = (1000, 3000, 10_000, 30_000, 100_000)
CELLS = (1, 3, 9)


def run(samples: int = SAMPLES[-1], pictures: int = PICTURES[-1], cells: int = CELLS[-1]) -> dict[str, Any]:
    """Sizes, seconds, MiB and exponents of every series, up to these sizes; `cells=0`: no sweep, otherwise three at least."""
    some = [size for size in SAMPLES if size <= samples] or [samples // 4, samples]
    found: dict[str, Any] = {}
    for name, width, work in (
        ("fid", 600, _fid),
        ("prdc", 64, _prdc),
        ("kid", 64, _kid),
        ("fid_interval", 64, _fid_interval),
    ):
        found[name] = _numbers(some, width, work)
        print(name, found[name], flush=True)
    largest = found["prdc"]
    whole = 8 * largest["sizes"][-1] ** 2 / 2**20
    assert largest["sizes"][-1] < 10_000 or largest["peak_mib"][-1] < whole / 2, "PRDC built an N x N matrix"
    found["prepare"] = _prepare([size for size in PICTURES if size <= pictures] or [pictures // 2, pictures])
    if chosen := [size for size in CELLS if size <= cells]:
        found["sweep"] = _sweep(chosen)
    return {
        "what": "pictures prepared, samples in metrics, cells of a sweep, one thread",
        "clock": "process",
        "series": found,
        "results_equal": True,
    }


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> dict[str, Any]:
    """The slope on log axes, and the smallest and largest of neighbouring points."""
    slopes = [np.log(b / a) / np.log(n / m) for (m, a), (n, b) in pairwise(zip(sizes, costs, strict=True))]
    slope = np.polyfit(np.log(sizes), np.log(costs), 1)[0] if slopes else float("nan")
    return {"median": round(float(slope), 2), "range": [round(float(min(slopes)), 2), round(float(max(slopes)), 2)]}


def _numbers(sizes: Sequence[int], width: int, work: Callable[[np.ndarray, np.ndarray], object]) -> dict[str, Any]:
    seconds, peaks = [], []
    for size in sizes:
        x, y = (np.random.default_rng([key, size]).standard_normal((size, width)) + key for key in (0, 1))
        if not seconds:
            work(x, y)  # imports
        tracemalloc.start()
        taken = timed(partial(work, x, y))[0]
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
        seconds.append(max(taken, 1e-6))
    return {**_series(sizes, seconds, peaks), "width": width}


def _series(sizes: Sequence[int], seconds: Sequence[float], peaks: Sequence[float]) -> dict[str, Any]:
    found: dict[str, Any] = {"sizes": list(sizes), "seconds": [rounded(value) for value in seconds]}
    if peaks:
        found["peak_mib"] = [rounded(value) for value in peaks]
        found["memory"] = exponent(sizes, peaks)
    return {**found, "time": exponent(sizes, seconds)}


def _fid(x: np.ndarray, y: np.ndarray) -> object:
    from t2i.evaluation.metrics.fid import frechet_distance

    return frechet_distance(x, y)


def _prdc(x: np.ndarray, y: np.ndarray) -> object:
    from t2i.evaluation.metrics.prdc import precision_recall_density_coverage

    return precision_recall_density_coverage(x, y)


def _kid(x: np.ndarray, y: np.ndarray) -> object:
    from t2i.evaluation.metrics.kid import kernel_distance

    return kernel_distance(x, y)


def _fid_interval(x: np.ndarray, y: np.ndarray) -> object:
    from t2i.evaluation.statistics.frechet import frechet_terms

    return frechet_terms(x, y)


def _prepare(sizes: Sequence[int]) -> dict[str, Any]:
    """Drawn scenes of 64 pixels, drawn beforehand; processor time of all processes, and their peak."""
    seconds, peaks = [], []
    SCRATCH.mkdir(exist_ok=True)
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=SCRATCH) as store:
            _peak(_draw, store, size)
            seconds.append(
                _processor_seconds(lambda store=store, size=size: peaks.append(_peak(_prepared, store, size)))
            )
        print(f"prepare {size}: {seconds[-1]:.1f} s, {peaks[-1]:.0f} MiB", flush=True)
    return _series(sizes, seconds, peaks)


def _small(count: int) -> Any:
    dataset = _dataset(count)
    dataset.resolution = 64
    return dataset


def _draw(store: str, count: int) -> None:
    from t2i.store import Store

    _small(count).acquire(Store(Path(store)))


def _prepared(store: str, count: int) -> None:
    from t2i.data.preparation.prepare import prepare
    from t2i.store import Store

    prepare(_small(count), Store(Path(store)), progress=False)


def _sweep(sizes: Sequence[int]) -> dict[str, Any]:
    """`task=sweep` over so many guidance scales, start-up and report included; 8 pictures of 5 steps a cell."""
    seconds = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            common = [f"outputs={scratch}/{size}", "track.enabled=false", "dataset.train=100", "dataset.val=8"]
            runner = [sys.executable, str(PROJECT / "run.py")]
            start = partial(subprocess.run, check=True, capture_output=True, cwd=PROJECT, env=environment)
            start([*runner, "task=prepare", *common])
            scales = json.dumps([2.0 + number for number in range(size)])
            space = f"sweeps.space={{scheduler:[ddim],cfg.scale:{scales}}}"
            fixed = "sweeps.fixed={scheduler.steps:5,eval.images:8}"
            metrics = "eval.metrics=[fid,clip_score]"
            grid = [*runner, "task=sweep", "sweeps=quick", space, fixed, metrics, *common]
            seconds.append(_processor_seconds(partial(start, grid)))
            print(f"sweep of {size}: {seconds[-1]:.1f} s", flush=True)
    return _series(sizes, seconds, [])
