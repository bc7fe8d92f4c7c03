"""Trainings of two processes that are stopped in every way a machine has, and end with the bits of one that was not."""

import csv
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from t2i.randomness import generator
from t2i.store import sha256_file

from .conftest import SCENES, TOY, Ended, Lab
from .test_launch import ACCELERATE

LONG = [
    *SCENES, *TOY, "task=train", "training.export_pipeline=false", "training.validation_images=0", "training.save_every=5",
    "training.steps=400",
]  # fmt: skip
WAYS = {"replicated": [], "in shards": ["strategy=unet", "launch.shard=true"]}
"""How two processes share a training."""
COLUMNS = ("step", "epoch", "loss", "gradient_norm", "learning_rate", "samples")


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """A process and everything that it started, itself first."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def to_everybody(process: "subprocess.Popen[str]") -> int:
    """SIGTERM to every process, as Slurm and systemd do."""
    for member in family(process):
        member.send_signal(signal.SIGTERM)
    return 143


def to_the_first(process: "subprocess.Popen[str]") -> int:
    """SIGTERM to the process that was started."""
    process.send_signal(signal.SIGTERM)
    return 143


def by_the_terminal(process: "subprocess.Popen[str]") -> int:
    """SIGINT to the group: Ctrl-C."""
    os.killpg(process.pid, signal.SIGINT)
    return 130


def killed(process: "subprocess.Popen[str]") -> int:
    """SIGKILL to the group."""
    os.killpg(process.pid, signal.SIGKILL)
    return -signal.SIGKILL


def one_killed(process: "subprocess.Popen[str]") -> int:
    """SIGKILL to the second of the workers, as a machine does that is out of memory."""
    next(member for member in family(process) if member.environ().get("RANK") == "1").kill()
    return 1


STOPS: list[Callable[["subprocess.Popen[str]"], int]] = [
    to_everybody,
    by_the_terminal,
    killed,
    to_the_first,
    one_killed,
]


def log_of(lab: Lab, since: float = 0.0) -> list[dict[str, str]]:
    """The lines of the log of the one training that is not finished; none unless it was written to `since` then."""
    for path in (lab.root / "store" / "training").glob(".*.partial/train_log.csv"):
        if path.stat().st_mtime < since:
            return []
        with open(path, newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if row["samples"]]
    return []


def checkpoint(lab: Lab) -> int:
    """The step of the newest checkpoint of the one training that is not finished, 0 when there is none."""
    found = (lab.root / "store" / "training").glob(".*.partial/checkpoints/step_*")
    return max((int(path.name[5:]) for path in found), default=0)


def stop_after(
    lab: Lab, stop: Callable[["subprocess.Popen[str]"], int], seconds: float, accelerate: bool, way: Sequence[str] = ()
) -> Ended:
    """Start or continue the training, stop it `seconds` after two more steps, and look at what is left."""
    how = {"launcher": ACCELERATE, "ACCELERATE_USE_CPU": "true"} if accelerate else {}
    before, started = checkpoint(lab), time.time()
    arguments = [*LONG, *way] if accelerate else [*LONG, *way, "launch.processes=2"]
    process = lab.start(*arguments, start_new_session=True, **how)  # type: ignore[arg-type]
    end = time.monotonic() + 150
    while len(log_of(lab, since=started)) < before + 2:
        assert time.monotonic() < end and process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    time.sleep(seconds)
    members = family(process)
    began = time.monotonic()
    status = stop(process)
    ended = lab.end(process, set())
    if accelerate:  # torch's launcher has a status of its own, and a traceback
        assert ended.status != 0
    else:
        assert ended.status == status, ended.err
        assert "Traceback" not in ended.err, ended.err
    _, alive = psutil.wait_procs(members, timeout=5)
    assert not alive, f"{stop.__name__}: {alive} are still there {time.monotonic() - began:.1f} s later"
    after, logged = checkpoint(lab), len(log_of(lab))
    if stop in (killed, one_killed):
        assert after > logged - 5 - 1, f"{logged} steps were logged and the newest checkpoint is of step {after}"
    else:
        assert after == logged > before, f"{stop.__name__}: {logged} steps and a checkpoint of step {after}"
    return ended


def finished(lab: Lab, way: Sequence[str]) -> tuple[dict[str, str], list[tuple[str, ...]]]:
    """Digests of the weights and what the log says of every step, after the undisturbed or the last run."""
    ended = lab.away(*LONG, *way, "launch.processes=2")
    assert ended.status == 0, ended.err
    with open(ended.folder / "train_log.csv", newline="", encoding="utf-8") as file:
        rows = [tuple(row[name] for name in COLUMNS) for row in csv.DictReader(file)]
    digests = {path.name: sha256_file(path) for path in (ended.folder / "weights").glob("*.safetensors")}
    return digests, rows


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("way", "stops", "steps"), [("replicated", 20, 400), ("in shards", 6, 24)], ids=["replicated", "in shards"]
)
def test_stopped_in_every_way_it_ends_with_the_same_bits(
    lab: Lab, main_job: Ended, tmp_path: Path, way: str, stops: int, steps: int
) -> None:
    straight, other = (lab.sharing(tmp_path / name, without="training") for name in ("straight", "other"))
    arguments = [*WAYS[way], f"training.steps={steps}"]
    expected = finished(straight, arguments)
    g = generator("stops")
    for number in range(stops):
        # torch's launcher ends the others by itself when one is gone
        accelerate = number % 6 == 5
        wait = float(g.uniform(0, 1.5)) * steps / 400
        stop_after(other, STOPS[number % len(STOPS)], wait, accelerate, arguments)
    assert finished(other, arguments) == expected
    assert len(expected[1]) == steps


@pytest.mark.parametrize("way", WAYS)
def test_when_everybody_hears_of_it_the_checkpoint_is_there(
    lab: Lab, main_job: Ended, tmp_path: Path, way: str
) -> None:
    other = lab.sharing(tmp_path / "lab", without="training")
    ended = stop_after(other, to_everybody, 0.0, accelerate=False, way=WAYS[way])
    assert "SIGTERM: finishing this step, then saving a checkpoint" in ended.out


@pytest.mark.parametrize("way", WAYS)
def test_when_one_of_them_is_killed_the_other_ends_and_the_checkpoint_is_there(
    lab: Lab, main_job: Ended, tmp_path: Path, way: str
) -> None:
    other = lab.sharing(tmp_path / "lab", without="training")
    ended = stop_after(other, one_killed, 0.0, accelerate=False, way=WAYS[way])
    assert "process 1 of 2 was ended by SIGKILL" in ended.err


def test_when_its_parent_is_killed_a_worker_ends(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    other = lab.sharing(tmp_path / "lab", without="training")
    stop_after(other, killed, 0.0, accelerate=False)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_fifty_runs_in_a_row_end_well(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    short = [*LONG, "training.steps=2", "launch.processes=2"]
    other = lab.sharing(tmp_path / "lab", without="training")
    statuses = [other.away(*short, f"training.seed={number}").status for number in range(50)]
    assert statuses == [0] * 50
