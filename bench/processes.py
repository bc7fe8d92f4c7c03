"""Two processes against one on the same global batch: what data parallelism gives on this machine.

    python -m bench processes
    python -m bench processes --shard=1 --processes=8

`python run.py task=train` with `launch.processes=1` and `2`, one thread each, in turns. The rates are the run's own (pictures per
second of wall time, the median over the lines of its log), so start-up is not in them. Wall time needs free cores: the load
before every run is in the result. Both train as one: their losses must agree. What the machine allows is measured beside it: as
many trainings that know nothing of each other, each with its share of the batch, at the same time.

`--shard=1` trains the whole U-Net, which the processes share in shards (`launch.shard`), and tells what that leaves of the peak
memory.
"""

import csv
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench._measure import load, ratio
from bench.startup import PROJECT


def run(
    batch: int = 64, steps: int = 30, rounds: int = 3, processes: int = 2, limit: int = 1, shard: int = 0
) -> dict[str, Any]:
    """The ratio of the rates, and the exponent of the cost in the number of processes (-1: as many times faster).

    `limit=0` leaves out what the machine allows.
    """
    rates: dict[int, list[float]] = {1: [], processes: []}
    waiting: dict[int, list[float]] = {1: [], processes: []}
    memory: dict[int, list[float]] = {1: [], processes: []}
    way = ["strategy=unet", "launch.shard=true"] if shard else []
    apart: list[float] = []
    difference = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            losses = []
            for count in rates:
                waiting[count].append(load()[0])
                outputs = Path(scratch) / f"{number} {count}"
                _finish([_train(outputs, batch, steps, count, way)])
                folder = _folder(outputs)
                rates[count].append(_metric(outputs, "images_per_second"))
                memory[count].append(_metric(outputs, "peak_memory_mb"))
                with open(folder / "train_log.csv", newline="", encoding="utf-8") as file:
                    losses.append([float(row["loss"]) for row in csv.DictReader(file)])
            difference = max(abs(a - b) / abs(a) for a, b in zip(*losses, strict=True))
            alone = limit * [Path(scratch) / f"{number} apart {process}" for process in range(processes)]
            _finish([_train(outputs, batch // processes, steps, 1, way) for outputs in alone])
            apart.append(sum(_metric(outputs, "images_per_second") for outputs in alone))
            told = {count: round(values[-1], 1) for count, values in rates.items()}
            print(told, "apart", round(apart[-1], 1), "images/s", flush=True)
    found = ratio(rates[processes], rates[1])
    trained = "unet in shards" if shard else "lora"
    return {
        "what": f"{steps} steps of {batch} pictures, {trained}, bundled model, one thread a process",
        "clock": "wall",
        "cores": len(os.sched_getaffinity(0)),
        "images_per_second": rates,
        "peak_memory_mb": memory,
        "load_before": waiting,
        **found,
        **({"apart": {"images_per_second": apart, **ratio(apart, rates[1])}} if limit else {}),
        **({"share_of_the_limit": ratio(rates[processes], apart)} if limit else {}),
        "exponent": round(-math.log(found["median"]) / math.log(processes), 2),
        "largest_relative_difference_of_losses": difference,
        "results_equal": difference < 1e-4,
    }


def _folder(outputs: Path) -> Path:
    return next(outputs.glob("*/*_train_*"))


def _metric(outputs: Path, name: str) -> float:
    return float(json.loads((_folder(outputs) / "metrics.json").read_text(encoding="utf-8"))[name])


def _finish(trainings: list[subprocess.Popen[bytes]]) -> None:
    """Waits for all of them; RuntimeError with what the first that failed said."""
    said = [training.communicate()[1] for training in trainings]
    for training, text in zip(trainings, said, strict=True):
        if training.returncode:
            raise RuntimeError(text.decode(errors="replace")[-2000:])


def _train(outputs: Path, batch: int, steps: int, count: int, way: Sequence[str]) -> subprocess.Popen[bytes]:
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
        *way,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
