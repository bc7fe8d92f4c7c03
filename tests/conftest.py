"""Command lines as users type them, at toy size: most in this process (importing torch takes seconds), some in their own."""

import gc
import io
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from t2i import processes

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Before torch is imported: equal numbers need equal thread counts, and two threads on a busy core are slower than one.
SURROUNDINGS = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "COLUMNS": "120",
}
for variable, setting in SURROUNDINGS.items():
    os.environ.setdefault(variable, setting)
# Where modules are not kept compiled, every process of a test compiles torch and diffusers anew: 30 s in place of 10.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

PROJECT = Path(__file__).resolve().parent.parent
SCENES = ["dataset.train=24", "dataset.val=12"]
TOY = [
    "training.steps=4",
    "training.batch_size=4",
    "training.log_every=1",
    "training.held_out_images=4",
    "eval.images=6",
    "eval.replicates=100",
    "scheduler.steps=2",
]


def pytest_configure(config: pytest.Config) -> None:
    """What each file takes is remembered: `make check` runs as many of the affected ones as fit into two minutes."""
    if not hasattr(config, "workerinput") and hasattr(config, "cache"):  # the others' reports arrive here
        config.pluginmanager.register(Seconds(config))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What the libraries made while they were imported is not looked through again: a tenth of the time went there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class Seconds:
    """By test file, how many tests of it were run and how long they took together, kept in pytest's cache."""

    def __init__(self, config: pytest.Config) -> None:
        assert config.cache is not None
        self.cache = config.cache
        self.found: dict[str, dict[str, float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of the setup, the call and the teardown of a test."""
        tests = self.found.setdefault(report.nodeid.partition("::")[0], {})
        tests[report.nodeid] = tests.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """A file of which more tests were run before keeps what they took."""
        known = self.cache.get("t2i/seconds", {})
        for path, tests in self.found.items():
            if len(tests) >= known.get(path, [0])[0]:
                known[path] = [len(tests), round(sum(tests.values()), 1)]
        self.cache.set("t2i/seconds", known)


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit status, what it printed, and the run folders that it made."""

    status: int
    out: str
    err: str
    folders: list[Path]

    @property
    def folder(self) -> Path:
        """The run folder of a command that made one."""
        assert len(self.folders) == 1, (self.folders, self.err)
        return self.folders[0]

    def json(self, name: str) -> Any:
        """A JSON file of the run folder."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    @property
    def metrics(self) -> dict[str, float]:
        """metrics.json of a command that ended well."""
        assert self.status == 0, self.err
        numbers: dict[str, float] = self.json("metrics.json")
        return numbers


@dataclass(frozen=True)
class Lab:
    """An output folder with its own store and tracking database, and the command lines that work in it."""

    root: Path

    @property
    def uri(self) -> str:
        """Of the tracking database."""
        return f"sqlite:///{self.root}/mlflow.db"

    def places(self, track: bool) -> list[str]:
        """Overrides that keep everything below `root`."""
        tracking = [f"track.uri={self.uri}", f"track.artifacts={self.root}/artifacts"]
        return [f"outputs={self.root}", *(tracking if track else ["track.enabled=false"])]

    def folders(self) -> set[Path]:
        """Every run folder so far."""
        return {path for path in self.root.glob("20*/*") if path.is_dir()}

    def here(self, *arguments: str, track: bool = False) -> Ended:
        """`python run.py <arguments>` in this process."""
        before, out, err = self.folders(), io.StringIO(), io.StringIO()
        with _own_process_state(), redirect_stdout(out), redirect_stderr(err):
            command = [str(PROJECT / "run.py"), *self.places(track), *arguments]
            with mock.patch.object(sys, "argv", command), pytest.raises(SystemExit) as exit_:
                runpy.run_path(command[0], run_name="__main__")
        code = exit_.value.code
        status = code if isinstance(code, int) else int(code is not None)
        return Ended(status, out.getvalue(), err.getvalue(), sorted(self.folders() - before))

    def start(
        self,
        *arguments: str,
        track: bool = False,
        launcher: tuple[str, ...] = (),
        start_new_session: bool = False,
        **environment: str,
    ) -> subprocess.Popen[str]:
        """`python [launcher] run.py <arguments>` in a process of its own."""
        command = [sys.executable, *launcher, str(PROJECT / "run.py"), *self.places(track), *arguments]
        return subprocess.Popen(
            command,
            cwd=self.root,  # nothing may depend on the working folder
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=start_new_session,
        )

    def away(self, *arguments: str, track: bool = False, launcher: tuple[str, ...] = (), **environment: str) -> Ended:
        """As `start`, and wait for its end."""
        before = self.folders()
        process = self.start(*arguments, track=track, launcher=launcher, **environment)
        return self.end(process, before)

    def sharing(self, root: Path, without: str) -> "Lab":
        """Another output folder whose store has every stage of this one but those of one name."""
        skipped = shutil.ignore_patterns(without, "*.lock")
        shutil.copytree(self.root / "store", root / "store", ignore=skipped, copy_function=os.link)
        return Lab(root)

    def end(self, process: subprocess.Popen[str], before: set[Path]) -> Ended:
        """Wait for a process; `before` are the run folders that it did not make."""
        out, err = process.communicate(timeout=240)
        return Ended(process.returncode, out, err, sorted(self.folders() - before))


@contextmanager
def _own_process_state() -> Iterator[None]:
    """What a command changes for its process is put back: environment and signal handlers."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with mock.patch.dict(os.environ):
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """One output folder for all tests, so that they share what the store holds."""
    return Lab(tmp_path_factory.mktemp("lab"))


SWEEP = [
    "sweeps.fixed={scheduler.steps:2,eval.images:6}",
    "sweeps.space={scheduler:[ddim,euler],cfg.scale:[5.0]}",
]


@pytest.fixture(scope="session")
def main_job(lab: Lab) -> Ended:
    """The whole experiment, once for all tests."""
    ended = lab.here(*SCENES, *TOY, *SWEEP, track=True)
    assert ended.status == 0, ended.err
    return ended


@pytest.fixture(scope="session")
def tuned_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with weights that differ from the tiny model's, as a training would leave it."""
    import torch

    from t2i.config import compose
    from t2i.models.load import load
    from t2i.store import Store

    folder = tmp_path_factory.mktemp("tuned_run") / "12-00-00_pipeline_abcdef"
    config = compose(["strategy=attn2_to_v"])
    models = load(config.model, Store(folder.parent / "store"))
    config.strategy.attach(models)
    with torch.no_grad():
        for parameter in config.strategy.trainable(models).values():
            parameter.mul_(0.3)
    (folder / "weights").mkdir(parents=True)
    config.strategy.save(models, folder / "weights")
    numbers = {
        "base/fid[tiny_clip]": 140.4, "base/fid[tiny_clip].low": 128.4, "base/fid[tiny_clip].high": 153.1,
        "tuned/fid[tiny_clip]": 59.48, "tuned/fid[tiny_clip].low": 53.46, "tuned/fid[tiny_clip].high": 65.71,
        "train/held_out_loss_before": 0.686, "train/held_out_loss": 0.3228,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(numbers))
    return folder


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Says what the processor multiplies bf16 with: no test may hang on the machine that it runs on."""

    def has(instruction: str) -> None:
        (tmp_path / "cpuinfo").write_text(f"flags : fpu avx2 {instruction}\n", "utf-8")
        monkeypatch.setattr(processes, "CPUINFO", tmp_path / "cpuinfo")

    return has


@pytest.fixture
def empty_lab(tmp_path: Path) -> Lab:
    """An output folder of a test's own."""
    return Lab(tmp_path)


@pytest.fixture
def folder_data(tmp_path: Path) -> Path:
    """Twelve captioned pictures for `dataset=folder`."""
    import numpy as np
    from PIL import Image

    from t2i.randomness import generator

    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(12):
        pixels = generator("folder picture", number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number:02d}.png")
        (root / f"{number:02d}.txt").write_text(f"picture number {number}")
    return root


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium, headless, with an empty profile. In CI a missing one is a failure, elsewhere a skip."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        missing = "there is no chromium; type: apt-get install --no-install-recommends chromium"
        if os.environ.get("T2I_CI") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        launched = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield launched
        launched.close()
