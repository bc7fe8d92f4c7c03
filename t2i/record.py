"""What a run leaves of itself, in its folder and in the tracker: its log, its numbers, and how it ended."""

import contextlib
import getpass
import logging
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from t2i.config import Config, Task, as_dict
from t2i.context import Run, write_results
from t2i.headline import name_of, params_of
from t2i.interruption import Interrupted
from t2i.places import CHECKOUT, COMMAND, PROJECT
from t2i.processes import DETAIL, rank, world_size
from t2i.store import Stage, write_json
from t2i.tracking import Input
from t2i.workers import STATUS

LOG = "run.log"
PACKAGES = ("torch diffusers transformers accelerate peft datasets torchmetrics hydra-core omegaconf mlflow optuna "
            "pillow numpy scipy safetensors").split()  # fmt: skip
PARTS = ("data", "embed", "verify", "train", "tuned", "comparison", "sweep", "clip")
"""Prefixes of a pipeline's numbers for which a task of its own has none; `base/` stays, as the tuned model's have none."""
INPUTS = {"prepared": "training", "reference": "evaluation"}
"""Stages that are data which a run read, and what for."""
WEIGHTS = ("weights", "clip", "pipeline", "export")
"""What a training or an export leaves in its run folder."""
TAG = 5000
"""Characters of a tag that every tracking server takes."""
log = logging.getLogger("t2i")


ENDED_BY_HAND = (Task.serve, Task.prompt)
"""Tasks that go on until somebody ends them."""


def configured(folder: Path, config: Config) -> None:
    """`config.yaml`: the whole configuration; again where a task finds out that another run's is what acts."""
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(as_dict(config))), encoding="utf-8")


def interrupted(config: Config, run: Run, how: Interrupted) -> None:
    """Say that a signal ended the run, and what is left of it."""
    if config.task not in ENDED_BY_HAND:
        run.say(f"ended by {how}; what is finished is kept, and the same command goes on from there")


def ended(run: Run, ending: dict[str, Any]) -> None:
    """How the run ended, in its folder and in the tracker."""
    if run.main:
        write_json(run.folder / STATUS, ending)
        if run.tracker.begun or ending["status"] == "FINISHED":
            run.tracker.artifact(run.folder / LOG)
        run.tracker.close(ending["status"])
    elif "error" in ending:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_json(run.folder / f"rank_{rank()}_{STATUS}", ending)


def finished(config: Config, run: Run, metrics: dict[str, float]) -> None:
    """Numbers, digests and files of a finished run, in its folder and in the tracker."""
    write_results(run.folder, metrics, run.stages)
    state = environment()
    write_json(run.folder / "environment.json", {**state, "overrides": run.overrides})
    run.tracker.metrics(shared_names(metrics))
    tags = {f"git.{key}": value for key, value in state["git"].items()}
    tags |= digests(run.stages.values())
    tags |= run.tags
    tags["run_folder"] = str(run.folder)
    run.tracker.tags(tags)
    run.tracker.inputs(inputs(config, run.stages.values()))
    for name in WEIGHTS:
        if (run.folder / name).exists():
            run.tracker.model(f"{name_of(config)} ({name})", run.folder / name, params_of(config))
    for name in ("config.yaml", "metrics.json", "stages.json", "environment.json"):
        run.tracker.artifact(run.folder / name)
    if run.tracker.link:
        run.say(f"MLflow: {run.tracker.link}")
    run.say(f"run folder: {run.folder}")


def sources(state: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, str]:
    """The tags in which MLflow looks for what a run was started from, and what was typed. state: of `environment`."""
    tags = {"mlflow.source.name": COMMAND.split()[-1], "mlflow.source.type": "LOCAL"}
    tags["command"] = shlex.join([*COMMAND.split(), *overrides])[:TAG]
    with contextlib.suppress(OSError, KeyError):  # a user without a name
        tags["mlflow.user"] = getpass.getuser()
    if state["git"]:
        tags |= {f"mlflow.source.git.{key}": value for key, value in state["git"].items()}
    return tags


def shared_names(metrics: Mapping[str, float]) -> dict[str, float]:
    """The numbers under the names that the task has which measures nothing else: `fid[x]` for a pipeline's `tuned/fid[x]`.

    A name that two parts have for two numbers keeps its part in the second.
    """
    shared: dict[str, float] = {}
    for name, value in metrics.items():
        part, _, own = name.partition("/")
        short = own if part in PARTS else name
        shared[short if shared.get(short, value) == value else name] = value
    return shared


def digests(stages: Iterable[Stage]) -> dict[str, str]:
    """`digest.<stage>`: the digests of all stages of that name, shortened where they are too many for a tag."""
    found: dict[str, list[str]] = {}
    for stage in stages:
        found.setdefault(stage.name, []).append(stage.digest)
    tags = {}
    for name, own in found.items():
        whole = ", ".join(own)
        tags[f"digest.{name}"] = whole if len(whole) <= TAG else ", ".join(digest[:12] for digest in own)[:TAG]
    return tags


def inputs(config: Config, stages: Iterable[Stage]) -> list[Input]:
    """The prepared data and the references that a run read."""
    names = {name: f"{config.dataset.name} {name}" for name in INPUTS}
    return [
        Input(names[stage.name], stage.digest, str(stage.path), INPUTS[stage.name])
        for stage in stages
        if stage.name in INPUTS
    ]


class _LogFile(logging.FileHandler):
    """Lines that the disk has no room for are still on the screen; a traceback for each would hide what happened."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def log_to(folder: Path, brief: bool = False) -> list[logging.Handler]:
    """Progress to standard output, everything to run.log; brief: without details."""
    folder.mkdir(parents=True, exist_ok=True)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    console = logging.StreamHandler(sys.stdout)
    console.setLevel(logging.INFO if brief else DETAIL)
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


def remove_empty(folder: Path) -> None:
    """A run folder that Hydra made for nothing; the day's folder too, if it holds no other run."""
    for empty in (folder, folder.parent):
        with contextlib.suppress(OSError):
            empty.rmdir()
