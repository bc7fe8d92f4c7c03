"""What a run leaves of itself, in its folder and in the tracker: its log, its numbers, and how it ended."""

import contextlib
import logging
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from t2i.context import Run, write_results
from t2i.places import CHECKOUT, PROJECT
from t2i.processes import rank, world_size
from t2i.store import write_json
from t2i.workers import STATUS

LOG = "run.log"
PACKAGES = ("torch diffusers transformers accelerate peft datasets torchmetrics hydra-core omegaconf mlflow optuna "
            "pillow numpy scipy safetensors").split()  # fmt: skip
log = logging.getLogger("t2i")


def ended(run: Run, ending: dict[str, Any]) -> None:
    """How the run ended, in its folder and in the tracker."""
    if run.main:
        write_json(run.folder / STATUS, ending)
        run.tracker.artifact(run.folder / LOG)
        run.tracker.close(ending["status"])
    elif "error" in ending:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_json(run.folder / f"rank_{rank()}_{STATUS}", ending)


def finished(run: Run, metrics: dict[str, float]) -> None:
    """Numbers, digests and files of a finished run, in its folder and in the tracker."""
    write_results(run.folder, metrics, run.stages)
    state = environment()
    write_json(run.folder / "environment.json", {**state, "overrides": run.overrides})
    run.tracker.metrics(metrics)
    tags = {f"git.{key}": value for key, value in state["git"].items()}
    tags |= {f"digest.{stage.name}": stage.digest for stage in run.stages.values()}
    tags |= run.tags
    tags["run_folder"] = str(run.folder)
    run.tracker.tags(tags)
    for name in ("config.yaml", "metrics.json", "stages.json", "environment.json"):
        run.tracker.artifact(run.folder / name)
    if run.tracker.link:
        run.say(f"MLflow: {run.tracker.link}")
    run.say(f"run folder: {run.folder}")


class _LogFile(logging.FileHandler):
    """Lines that the disk has no room for are still on the screen; a traceback for each would hide what happened."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def log_to(folder: Path) -> list[logging.Handler]:
    """Progress to standard output, everything to run.log."""
    folder.mkdir(parents=True, exist_ok=True)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    console = logging.StreamHandler(sys.stdout)
    console.setLevel(logging.INFO)
    console.setFormatter(logging.Formatter("%(message)s"))
    file = _LogFile(folder / LOG, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(console)
    log.addHandler(file)
    return [console, file]


def git_state() -> dict[str, str]:
    """Commit and cleanliness of the project's checkout; empty when it is not one."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    if not CHECKOUT:  # an environment may lie inside a repository that is not ours
        return {}
    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": str(bool(git("status", "--porcelain"))).lower()} if commit else {}


def environment() -> dict[str, Any]:
    """What a reader needs to know to repeat the run: packages, machine, device, git state, command line."""
    installed = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    state: dict[str, Any] = {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "git": git_state(),
        "packages": installed,
        "processes": world_size(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
    }
    if "torch" in sys.modules:  # a task that never needed torch says nothing about devices
        import torch

        state["threads"] = torch.get_num_threads()
        state["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        state["cuda"] = torch.version.cuda
    return state
