"""At which commit a result was measured, and whether what it measures has changed since. Says nothing without a history."""

import subprocess
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[1]
NUMBERS = ("t2i/evaluation/metrics", "t2i/evaluation/statistics")
DRAWING = ("t2i/sampling", "t2i/models")
STARTING = ("run.py", "t2i/launch.py", "t2i/arguments.py", "t2i/config")
TRAINING = ("t2i/training", "t2i/models")
MEASURES: dict[str, tuple[str, ...]] = {
    "startup": STARTING,
    "small": (*STARTING, "t2i/stages", "t2i/tasks", "t2i/reporting"),
    "prepare": ("t2i/data",),
    "prepare_memory": ("t2i/data",),
    "train": TRAINING,
    "half": TRAINING,
    "engines": DRAWING,
    "sampling": DRAWING,
    "sweep": (*DRAWING, *NUMBERS, "t2i/sweeps", "t2i/stages"),
    "evaluation": NUMBERS,
    "verdict": NUMBERS,
    "images": (*NUMBERS, "t2i/evaluation/extractors"),
    "evaluate_task": (*DRAWING, "t2i/evaluation", "t2i/stages"),
    "checkpoint": ("t2i/training/resuming", "t2i/training/strategies.py"),
    "processes": TRAINING,
    "end_to_end": (*DRAWING, "t2i/data", "t2i/training", "t2i/evaluation", "t2i/stages", "t2i/reporting"),
    "waiting": ("t2i/threads.py", *TRAINING),
    "gpu": (*DRAWING, "t2i/training", "t2i/evaluation", "t2i/sweeps"),
    "sdxl": TRAINING,
    "personalisation": (*DRAWING, "t2i/training", "t2i/data", "t2i/evaluation"),
    "growth": (*NUMBERS, "t2i/data", "t2i/sweeps"),
}
"""Files and folders whose speed or size a bench measures."""


def commit() -> str | None:
    """The commit that is checked out, shortened, with a + where t2i or bench differ from it; None without git."""
    found = _git("rev-parse", "--short=9", "HEAD")
    if not found:
        return None
    return found + ("+" if _git("status", "--porcelain", "--", "run.py", "t2i", "bench/*.py") else "")


@cache
def changed_since(bench: str, measured_at: str | None, date: str) -> bool:
    """Whether a commit after `measured_at` - without one, after that day - touches what the bench measures.

    False where it cannot be known: no git, a shallow clone, a commit that is not in the history.
    """
    if _git("rev-parse", "--is-shallow-repository") != "false":
        return False
    since = [f"{measured_at.rstrip('+')}..HEAD"] if measured_at else ["HEAD", f"--since={date} 23:59:59"]
    return bool(_git("log", "-1", "--format=%h", *since, "--", *MEASURES[bench]))


def _git(*arguments: str) -> str:
    """What git says, stripped; nothing where it fails or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
