"""Several processes, and processes that are told to stop: the same samples, the same losses, the same weights."""

import csv
import hashlib
import signal
import time
from pathlib import Path

import pytest

from .conftest import SCENES, Ended, Lab

TRAIN = ["task=train", *SCENES, "training.batch_size=4", "training.log_every=1", "strategy=attn2_to_v"]
LAUNCH = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--num_processes", "2")
PLAIN = ("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")


def rows(ended: Ended) -> list[dict[str, str]]:
    with open(ended.folder / "train_log.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def weights(ended: Ended) -> str:
    return hashlib.sha256((ended.folder / "weights" / "weights.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def alone(lab: Lab) -> Ended:
    return lab.here(*TRAIN, "training.steps=5")


@pytest.mark.parametrize("typed", [True, False], ids=["accelerate launch", "launch.processes=2"])
def test_two_processes_see_the_samples_and_losses_of_one(typed: bool, alone: Ended, empty_lab: Lab) -> None:
    if typed:
        ended = empty_lab.away(*TRAIN, "training.steps=5", launcher=(*LAUNCH, *PLAIN), ACCELERATE_USE_CPU="true")
    else:
        ended = empty_lab.away(*TRAIN, "training.steps=5", "launch.processes=2")
    assert ended.status == 0, ended.err
    assert ended.json("environment.json")["processes"] == 2
    one, two = rows(alone), rows(ended)
    assert [row["samples"] for row in one] == [row["samples"] for row in two]
    assert [float(row["loss"]) for row in two] == pytest.approx([float(row["loss"]) for row in one], rel=1e-5)


def test_a_multirun_inside_accelerate_launch_is_refused(empty_lab: Lab) -> None:
    ended = empty_lab.away(*TRAIN, "seed=1,2", "-m", launcher=(*LAUNCH, *PLAIN), ACCELERATE_USE_CPU="true")
    assert ended.status != 0
    assert "--multirun inside `accelerate launch` is refused" in ended.err


def test_a_stopped_training_goes_on_where_it_was_and_ends_with_the_same_weights(lab: Lab, empty_lab: Lab) -> None:
    command = [*TRAIN, "training.steps=60", "training.save_every=10"]
    before = empty_lab.folders()
    process = empty_lab.start(*command)
    log = wait_for(empty_lab.root / "store" / "training", "*.partial/train_log.csv", "\n5,")
    process.send_signal(signal.SIGTERM)
    stopped = empty_lab.end(process, before)
    assert stopped.status == 128 + signal.SIGTERM, stopped.err
    assert stopped.json("status.json")["status"] == "KILLED"
    assert list((log.parent / "checkpoints").glob("step_*"))
    resumed = empty_lab.here(*command)
    assert "resumed from the checkpoint of step" in resumed.out
    whole = lab.here(*command)
    assert [row["loss"] for row in rows(resumed)] == [row["loss"] for row in rows(whole)]
    assert weights(resumed) == weights(whole)


def wait_for(folder: Path, pattern: str, text: str, seconds: float = 200) -> Path:
    """The first file that matches and holds `text`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path in folder.glob(pattern):
            if text in path.read_text(encoding="utf-8"):
                return path
        time.sleep(0.02)
    raise AssertionError(f"no {pattern} in {folder} held {text!r}")
