"""Two processes against one on the same global batch: what data parallelism gives on this machine.

    python -m bench processes

`python run.py task=train` with `launch.processes=1` and `2`, one thread each, in turns. The rates are the run's own (pictures per
second of wall time, the median over the lines of its log), so start-up is not in them. Wall time needs free cores: the load
before every run is in the result. Both train as one: their losses must agree.
"""

import csv
import json
import math
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from bench._measure import load, ratio
from bench.startup import PROJECT


def run(batch: int = 64, steps: int = 20, rounds: int = 3, processes: int = 2) -> dict[str, Any]:
    """The ratio of the rates, and the exponent of the cost in the number of processes (-1: as many times faster)."""
    rates: dict[int, list[float]] = {1: [], processes: []}
    waiting: dict[int, list[float]] = {1: [], processes: []}
    difference = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            losses = []
            for count in rates:
                waiting[count].append(load()[0])
                outputs = Path(scratch) / f"{number} {count}"
                _train(outputs, batch, steps, count)
                folder = next(outputs.glob("*/*_train_*"))
                metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
                rates[count].append(metrics["images_per_second"])
                with open(folder / "train_log.csv", newline="", encoding="utf-8") as file:
                    losses.append([float(row["loss"]) for row in csv.DictReader(file)])
            difference = max(abs(a - b) / abs(a) for a, b in zip(*losses, strict=True))
            print({count: round(values[-1], 1) for count, values in rates.items()}, "images/s", flush=True)
    found = ratio(rates[processes], rates[1])
    return {
        "what": f"{steps} steps of {batch} pictures, attn2_to_v, bundled model, one thread a process",
        "clock": "wall",
        "cores": len(os.sched_getaffinity(0)),
        "images_per_second": rates,
        "load_before": waiting,
        **found,
        "exponent": round(-math.log(found["median"]) / math.log(processes), 2),
        "largest_relative_difference_of_losses": difference,
        "results_equal": difference < 1e-4,
    }


def _train(outputs: Path, batch: int, steps: int, count: int) -> None:
    command = [
        sys.executable,
        str(PROJECT / "run.py"),
        "task=train",
        "dataset.train=200",
        "dataset.val=8",
        f"outputs={outputs}",
        "track.enabled=false",
        f"training.steps={steps}",
        f"training.batch_size={batch}",
        "training.log_every=2",
        "training.validation_images=0",
        "training.held_out_images=4",
        "training.export_pipeline=false",
        f"launch.processes={count}",
    ]
    start = partial(subprocess.run, check=True, capture_output=True, cwd=PROJECT)
    start(command, env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"})
