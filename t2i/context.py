"""`Run`: what a task receives beside its configuration - folder, store, tracker, devices, and a way to be interrupted."""

import contextlib
import json
import logging
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.store import Stage, Store, write_json
from t2i.tracking import NullTracker, Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent
CHECKOUT = (PROJECT / "run.py").is_file() and (PROJECT / "conf").is_dir()
"""Whether this is a working copy of the project, or a package that was installed from a wheel."""
CONFIGURATION = PROJECT if CHECKOUT else PACKAGE / "installed"
"""Where conf/, sweeps/ and constraints.txt are: a wheel carries them inside the package (tools/wheel.py)."""
HOME = PROJECT if CHECKOUT else Path.cwd()
"""Where outputs/ and mlruns/ are: beside a working copy's code; of an installed package, in the working folder."""
COMMAND = "python run.py" if CHECKOUT else "t2i"
"""What is typed."""
PACKAGES = ("torch diffusers transformers accelerate peft datasets torchmetrics hydra-core omegaconf mlflow optuna "
            "pillow numpy scipy safetensors").split()  # fmt: skip
FROZEN = "T2I_FROZEN"
"""Environment variable: the file with the composed job of a process that was started by another one."""
log = logging.getLogger("t2i")


class Interrupted(BaseException):
    """SIGTERM or SIGINT arrived; what could be saved has been saved. The exit status is 128 + signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def rank() -> int:
    """This process's number among those of the run (0 when there is one)."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes work on this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def device_type() -> str:
    """`cuda` or `cpu`, found without importing torch: part of what addresses a computed result."""
    if (
        os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
        or os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    ):
        return "cpu"
    return "cuda" if any(Path("/dev").glob("nvidia[0-9]*")) and "+cpu" not in metadata.version("torch") else "cpu"


@dataclass
class Run:
    """One run of one task: created by `t2i.launch`, handed to every task."""

    folder: Path
    store: Store
    tracker: Tracker = field(default_factory=NullTracker)
    overrides: list[str] = field(default_factory=list)
    """The command-line overrides that made the configuration."""
    mixed_precision: str = "no"
    stages: dict[str, Stage] = field(default_factory=dict)
    """Every stage that the run used, by name of use."""
    tags: dict[str, str] = field(default_factory=dict)
    """Short facts that the tracker shows beside the run, such as the digest of the model."""
    cache: dict[str, Any] = field(default_factory=dict)
    """What is expensive to load and used by several tasks of the run."""
    sections: list[dict[str, Any]] = field(default_factory=list)
    """What the run found, for report.html: `section` adds to it."""
    pending_signal: int = 0
    _deferred: bool = False

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes files and records numbers."""
        return rank() == 0

    @cached_property
    def accelerator(self) -> "Accelerator":
        """Devices, precision and communication; made at first use, since many tasks need none (torch takes seconds)."""
        from datetime import timedelta

        from accelerate import Accelerator, InitProcessGroupKwargs

        # Preparing a large dataset on the main process may take hours while the others wait at a barrier.
        patience = InitProcessGroupKwargs(timeout=timedelta(hours=12))
        return Accelerator(mixed_precision=self.mixed_precision, kwargs_handlers=[patience])

    def barrier(self) -> None:
        """Wait for the other processes of this run."""
        if world_size() > 1:
            self.accelerator.wait_for_everyone()

    def stage(self, name: str, *args: Any, **kwargs: Any) -> Stage:
        """`Store.stage`, remembered under its name in this run."""
        return self.use(self.store.stage(name, *args, **kwargs))

    def use(self, stage: Stage) -> Stage:
        """Note that this run depends on `stage`."""
        self.stages.setdefault(f"{stage.name}/{stage.digest[:12]}", stage)  # built here and read again is not reused
        return stage

    def say(self, line: str) -> None:
        """A line for the person who waits, and for run.log."""
        if self.main:
            log.info(line)

    def section(
        self,
        title: str,
        text: str,
        tables: Sequence[Mapping[str, Any]] = (),
        figures: Sequence[tuple[Path, str]] = (),
        **facts: Any,
    ) -> None:
        """A part of the run's story for report.html, kept in `sections.json` so that task=report can tell it again.

        tables: mappings with columns, rows and caption. figures: paths below the run folder, with captions.
        """
        if not self.main:
            return
        for path, _ in figures:
            self.tracker.artifact(path, "figures")
        shown = [{"path": str(path.relative_to(self.folder)), "caption": caption} for path, caption in figures]
        self.sections.append({"title": title, "text": text, "tables": list(tables), "figures": shown, "facts": facts})
        write_json(self.folder / "sections.json", self.sections)

    def figures(self) -> Path:
        """The folder for pictures of this run."""
        folder = self.folder / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # -- interruption ------------------------------------------------------------------------------------------------

    def catch_signals(self) -> None:
        """SIGTERM and SIGINT raise `Interrupted`, at once or - inside `deferring()` - when the work asks."""

        def handle(number: int, frame: Any) -> None:
            if self._deferred and not self.pending_signal:
                self.pending_signal = number
                self.say(f"{signal.Signals(number).name}: finishing this step, then saving a checkpoint")
            else:  # a second signal does not wait
                raise Interrupted(number)

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)

    @contextlib.contextmanager
    def deferring(self) -> Iterator[None]:
        """Signals wait: the work inside looks at `pending_signal` between its steps and raises `Interrupted` itself.

        What it did not look at any more raises `Interrupted` at the end.
        """
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.pending_signal:
            raise Interrupted(self.pending_signal)


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


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; lists become JSON."""
    items: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            items.update(flat(value, f"{prefix}{key}."))
        else:
            items[prefix + key] = json.dumps(value) if isinstance(value, list) else value
    return items


def write_results(folder: Path, metrics: Mapping[str, float], stages: Mapping[str, Stage]) -> None:
    """`metrics.json` (the numbers) and `stages.json` (the digests of everything they came from) of a run folder."""
    write_json(folder / "metrics.json", dict(metrics))
    write_json(folder / "stages.json", {name: {"digest": s.digest, "reused": s.reused} for name, s in stages.items()})
