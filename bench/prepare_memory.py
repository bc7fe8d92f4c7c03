"""Whether preparation needs more memory for more images: its peak over all processes, for a small and a large world."""

import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

RESOLUTION = 256
SCRATCH = Path("outputs")
"""On the disk that runs write to: a temporary folder may lie in memory."""
EVERY = 0.1
"""Seconds between two looks."""


def run(small: int = 5000, large: int = 50_000) -> dict[str, Any]:
    """The peak proportional set size (PSS) of all processes, in MiB, while drawing and while preparing each world."""
    peaks: dict[str, list[float]] = {"draw": [], "prepare": []}
    seconds = []
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        for count in (small, large):
            store = str(Path(scratch) / str(count))
            for name, work in (("draw", _draw), ("prepare", _prepare)):
                start = time.perf_counter()
                peaks[name].append(_peak(work, store, count))
                seconds.append(round(time.perf_counter() - start, 1))
                print(f"{name} {count}: {peaks[name][-1]:.0f} MiB, {seconds[-1]} s", flush=True)
            shutil.rmtree(store)
    return {
        "what": f"dataset=scenes at {RESOLUTION} x {RESOLUTION}, {small} and {large} training images",
        "draw_peak_mib": [round(value, 1) for value in peaks["draw"]],
        "prepare_peak_mib": [round(value, 1) for value in peaks["prepare"]],
        "prepare_growth": round(peaks["prepare"][1] / peaks["prepare"][0] - 1, 3),
        "seconds": seconds,
        "target": 0.15,
    }


def _dataset(count: int) -> Any:
    from t2i.data.sources.scenes_dataset import Scenes

    return Scenes(resolution=RESOLUTION, train=count, val=200)


def _draw(store: str, count: int) -> None:
    from t2i.store import Store

    _dataset(count).acquire(Store(Path(store)))


def _prepare(store: str, count: int) -> None:
    from t2i.data.preparation.prepare import prepare
    from t2i.store import Store

    prepare(_dataset(count), Store(Path(store)), progress=False)


def _peak(work: Any, store: str, count: int) -> float:
    process = multiprocessing.get_context("spawn").Process(target=work, args=(store, count))
    process.start()
    peak = 0.0
    while process.is_alive():
        peak = max(peak, _tree(process.pid or 0))
        process.join(EVERY)
    if process.exitcode:
        raise RuntimeError(f"ended with status {process.exitcode}")
    return peak


def _tree(pid: int) -> float:
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:  # it ended between two looks: the next one is right
        return 0.0
    return total / 2**20
