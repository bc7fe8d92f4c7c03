"""How long a user waits before anything happens: `--help`, composing, and the import that every script of the peer begins with.

Processor time of fresh processes, in turns, after one run of each that fills the file cache. The profile of
`--help` (`python -X importtime`) is kept beside the result.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench._measure import ratio

PROJECT = Path(__file__).resolve().parent.parent
LINES = 15
"""Lines of the profile that are kept."""


def run(rounds: int = 5, warm_up: int = 1) -> dict[str, Any]:
    """Ratios of the peer's import to `--help` and to `--cfg job`, and seconds of `task=verify` when all is in the store."""
    python, runner = sys.executable, str(PROJECT / "run.py")
    with tempfile.TemporaryDirectory() as outputs:
        verify = [python, runner, "task=verify", f"outputs={outputs}", "track.enabled=false"]
        commands = {
            "help": [python, runner, "--help"],
            "compose": [python, runner, "--cfg", "job"],
            "import diffusers": [python, "-c", "from diffusers import StableDiffusionPipeline"],
            "verify": verify,
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(warm_up + rounds):
            for name, command in commands.items():
                taken = _processor_seconds(
                    partial(subprocess.run, command, check=True, capture_output=True, cwd=PROJECT)
                )
                if number >= warm_up:
                    seconds[name].append(taken)
    profile = subprocess.run(
        [python, "-X", "importtime", runner, "--help"], check=True, capture_output=True, text=True, cwd=PROJECT
    ).stderr
    slowest = sorted(
        (line for line in profile.splitlines() if line.startswith("import time:") and "self" not in line),
        key=lambda line: -int(line.split("|")[1]),
    )
    return {
        "what": "fresh processes, processor seconds",
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "help": ratio(seconds["import diffusers"], seconds["help"]),
        "compose": ratio(seconds["import diffusers"], seconds["compose"]),
        "help_profile": [line.removeprefix("import time:").strip() for line in slowest[:LINES]],
        "results_equal": True,
    }


def _processor_seconds(start: Callable[[], Any]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
