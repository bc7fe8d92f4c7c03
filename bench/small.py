"""How long small commands take: everything reused, one picture, a mistake. Ours, and another checkout's (`--other=<folder>`).

Processor and wall seconds of fresh processes in turns. Each side has its own outputs and database, in which the whole
experiment is made first (`--keys=` for a smaller one); with `--outputs=<folder>` both have one in which that was done. Processor
seconds hold those of every process that a command starts and waits for. Without another checkout, ours runs twice.
"""

import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench._measure import load, ratio
from bench._options import chosen
from bench.startup import PROJECT


def run(
    rounds: int = 3,
    warm_up: int = 1,
    other: str = "",
    keys: str = "",
    outputs: str = "",
    quick: int = 0,
    only: str = "",
) -> dict[str, Any]:
    """Ratios of the other checkout's processor seconds to ours, by command. quick: 1 leaves out what needs the experiment;
    only: one command."""
    names = [name for name in COMMANDS if not quick or name not in ("again", "diff")]
    names = chosen("only", only, list(COMMANDS)) if only else names
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "other": Side("other", Path(other or PROJECT), Path(outputs or f"{folder}/other"), keys),
            "ours": Side("ours", PROJECT, Path(outputs or f"{folder}/ours"), keys),
        }
        if not (outputs or quick):
            for side in sides.values():
                side.measure(side.whole)
        seconds: dict[str, dict[str, dict[str, list[float]]]] = {}
        for number in range(warm_up + rounds):
            for name in names:
                for kind, side in sides.items():
                    processor, wall = side.measure(side.command(name, number))
                    if number >= warm_up:
                        kept = seconds.setdefault(name, {}).setdefault(kind, {"processor": [], "wall": []})
                        kept["processor"].append(round(processor, 3))
                        kept["wall"].append(round(wall, 3))
    return {
        "what": "small commands, processor seconds",
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "load": load(),
        "seconds": seconds,
        "ratios": {name: ratio(own["other"]["processor"], own["ours"]["processor"]) for name, own in seconds.items()},
        "wall_ratios": {name: ratio(own["other"]["wall"], own["ours"]["wall"]) for name, own in seconds.items()},
        "results_equal": True,
    }


COMMANDS = {
    "again": "",
    "picture": "task=generate 'prompts=[a cat on road {number} of {side}]'",
    "diff": "task=diff runs=[{runs}]",
    "mistake": "task=generate model.source=/nowhere",
    "steps": "task=generate scheduler=lcm scheduler.steps=60 images=1",
    "help": "--help",
}


class Side:
    """A checkout with outputs of its own."""

    def __init__(self, name: str, checkout: Path, outputs: Path, keys: str) -> None:
        self._name = name  # a picture that one side has drawn is none for the other to draw
        self._runner = checkout / "run.py"
        self._outputs, self._keys = outputs, shlex.split(keys)
        outputs.mkdir(exist_ok=True)

    @property
    def whole(self) -> list[str]:
        """The experiment, and where it is recorded."""
        places = [f"outputs={self._outputs}", f"track.uri=sqlite:///{self._outputs}/mlflow.db"]
        return [*places, f"track.artifacts={self._outputs}/artifacts", *self._keys]

    def command(self, name: str, number: int) -> list[str]:
        """The arguments of a command in a round."""
        runs = ",".join(map(str, sorted(self._outputs.glob("*/*_pipeline_*"))[:2]))
        typed = shlex.split(
            COMMANDS[name].replace("{number}", str(number)).replace("{runs}", runs).replace("{side}", self._name)
        )
        return typed if name == "help" else [*(self.whole if name == "again" else self.whole[:3]), *typed]

    def measure(self, arguments: list[str]) -> tuple[float, float]:
        """Processor and wall seconds of a command."""
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(self._runner), *arguments],
            capture_output=True,
            text=True,
            cwd=self._runner.parent,
            check=False,
        )
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in (0, 2):
            raise RuntimeError(done.stderr)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall
