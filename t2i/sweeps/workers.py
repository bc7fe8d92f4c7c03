"""Several processes that share the cells of one sweep, each with a GPU of its own where there are some."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.config import Config, as_dict, as_override
from t2i.context import FROZEN, Run
from t2i.models.size import SMALL, scalars
from t2i.places import CHECKOUT, PROJECT
from t2i.store import write_json
from t2i.sweeps.cells import grid_size
from t2i.sweeps.config import AUTO

if TYPE_CHECKING:
    from t2i.sweeps.study import Study

NUMBER = "T2I_SWEEP_WORKER"
"""Environment variable: the number of a worker; unset in the process that started it."""
MEMORY = 2e9
"""Bytes that a worker with a small model may take, all libraries included."""


def count(config: Config) -> int:
    """How many processes `sweeps.workers` asks for."""
    asked = config.sweeps.workers
    if asked != AUTO:
        return int(asked)
    most = grid_size(config)
    if gpus := _gpus():
        return min(len(gpus), most)
    from psutil import virtual_memory

    fitting = int(virtual_memory().available // MEMORY)
    return max(1, min(_cores(), most, fitting)) if 0 < scalars(config.model) < SMALL else 1


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> list[str]:
    """Names by which CUDA_VISIBLE_DEVICES calls those that may be used."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return devices if devices != [""] else [path.name[6:] for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]


def is_worker() -> bool:
    """Whether this process only measures cells: another one tells the story."""
    return NUMBER in os.environ


def start(config: Config, run: Run, study: "Study", settings: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Start `sweeps.workers` processes and wait for them; finished cells are recorded as they come.

    A worker that dies is mentioned: its cell is taken by the others, or by this process afterwards. An interruption is
    passed on to all of them.
    """
    from tqdm import tqdm

    from t2i.sweeps.driver import Outcome
    from t2i.sweeps.findings import plain
    from t2i.sweeps.study import CELL, NUMBERS

    recorded = set(study.finished())
    together = count(config)
    processes = [_spawn(config, run, number, together) for number in range(together)]
    run.say(f"{len(processes)} workers; their logs are in {run.folder}/worker_*")
    try:
        with tqdm(total=grid_size(config), initial=len(recorded), desc="sweep", unit="cell") as bar:
            while True:
                ended = all(process.poll() is not None for process in processes)
                for key, trial in study.finished().items():
                    if key in recorded:
                        continue
                    recorded.add(key)
                    outcome = Outcome(trial.user_attrs[CELL], trial.user_attrs[NUMBERS])
                    label = ", ".join(as_override(key, value) for key, value in outcome.cell.items())
                    with run.tracker.child(f"cell {label}") as child:
                        child.params(settings(outcome.cell))
                        child.metrics(plain(outcome.numbers))
                    bar.update()
                if ended:
                    break
                time.sleep(0.5)
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()
    for number, process in enumerate(processes):
        if process.returncode:
            run.say(f"worker {number} ended with status {process.returncode}; see {run.folder}/worker_{number}/run.log")


def _spawn(config: Config, run: Run, number: int, together: int) -> "subprocess.Popen[bytes]":
    folder = run.folder / f"worker_{number}"
    folder.mkdir(parents=True, exist_ok=True)
    values = as_dict(config)
    values["task"], values["track"]["enabled"], values["sweeps"]["workers"] = "sweep", False, 1
    write_json(folder / "frozen.json", {"config": values, "folder": str(folder), "overrides": run.overrides})
    surroundings = {**os.environ, FROZEN: str(folder / "frozen.json"), NUMBER: str(number)}
    if gpus := _gpus():
        surroundings["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    else:  # together they have as many threads as there are cores
        surroundings.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // together)))
    entry = [str(PROJECT / "run.py")] if CHECKOUT else ["-m", "t2i"]
    with open(folder / "output.log", "wb") as output:
        return subprocess.Popen([sys.executable, *entry], env=surroundings, stdout=output, stderr=subprocess.STDOUT)
