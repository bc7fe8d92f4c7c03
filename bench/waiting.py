"""How threads should wait for each other: training steps of the bundled model with two threads, on a quiet and on a busy machine.

    python -m bench waiting                              a machine where nothing else runs
    python -m bench waiting --counts=0,1000,10000        other turns than the ones that were looked at

A thread that waits at the end of a parallel loop looks again and again (`GOMP_SPINCOUNT` times) and then sleeps. Sleeping
costs on a quiet machine, since loops are short; looking costs on a busy one, where the thread that is waited for has no
core. One process a setting, in turns, wall time; on the busy machine a loop that does nothing else runs on every core.
`ours` is what `run.py` sets (`t2i/threads.py`), `unset` libgomp's own 300,000, `passive` what OMP_WAIT_POLICY=PASSIVE makes
of it: 0.
"""

import os
import subprocess
import sys
from typing import Any

from bench._measure import load, ratio, rounded
from bench.startup import PROJECT
from t2i.threads import SPINS

STEPS = 3
COUNTS = "300,1000,10000"


def run(counts: str | int = COUNTS, rounds: int = 5, threads: int = 2) -> dict[str, Any]:
    """Seconds a step of every setting in both surroundings, and how many times as fast ours is."""
    settings = {"ours": {"GOMP_SPINCOUNT": str(SPINS)}, "unset": {}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}}
    settings |= {f"{count} turns": {"GOMP_SPINCOUNT": count} for count in str(counts).split(",")}
    settings["one thread"] = {"OMP_NUM_THREADS": "1"}
    waiting = load()
    workers = {name: _start(own, threads) for name, own in settings.items()}
    idle: list[subprocess.Popen[bytes]] = []
    seconds: dict[str, dict[str, list[float]]] = {}
    try:
        for worker in workers.values():
            _ask(worker)  # imports, and a step
        for surroundings in ("quiet", "busy"):
            if surroundings == "busy":
                idle += [_busy() for _ in os.sched_getaffinity(0)]
            seconds[surroundings] = {name: [] for name in workers}
            for number in range(rounds):
                for name, worker in workers.items():
                    seconds[surroundings][name].append(_ask(worker))
                told = ", ".join(f"{name} {taken[-1]:.3f}" for name, taken in seconds[surroundings].items())
                print(f"{surroundings}, round {number + 1}, seconds a step: {told}", flush=True)
    finally:
        for process in (*workers.values(), *idle):
            process.kill()
            process.wait()
    result: dict[str, Any] = {
        "what": f"a step of attn2.to_v, 16 pictures, bundled model, {threads} threads",
        "clock": "wall",
        "load_before": waiting,
        "spins": SPINS,
        "seconds_a_step": {
            place: {name: [rounded(value) for value in values] for name, values in found.items()}
            for place, found in seconds.items()
        },
    }
    for place, found in seconds.items():
        result[place] = {name: ratio(values, found["ours"]) for name, values in found.items() if name != "ours"}
    return result


def _start(own: dict[str, str], threads: int) -> "subprocess.Popen[str]":
    clean = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment = {**clean, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", **own}
    call = [sys.executable, "-c", "from bench.waiting import worker; worker()"]
    return subprocess.Popen(
        call, cwd=PROJECT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _busy() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "while True: pass"])


def _ask(worker: "subprocess.Popen[str]") -> float:
    """Seconds a step, of STEPS steps."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def worker() -> None:
    """In a process of its own: steps whenever it is asked for them."""
    import time

    import torch

    from bench.train import Trainer

    trainer = Trainer("tiny", "attn2_to_v", "cpu", torch.float32, 16, "ours", False, False)
    trainer.step()
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(STEPS):
            trainer.step()
        print((time.perf_counter() - start) / STEPS, flush=True)
