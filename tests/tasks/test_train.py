"""A training that is killed goes on where it was, and ends as if nothing had happened."""

import hashlib
import signal
import time
from pathlib import Path

import pytest

from ..conftest import SCENES, TOY, Ended, Lab
from ..test_launch import train_log

LONG = [*SCENES, *TOY, "task=train", "training.steps=40", "training.export_pipeline=false"]


def weights(ended: Ended) -> str:
    assert ended.status == 0, ended.err
    content = (ended.folder / "weights" / "pytorch_lora_weights.safetensors").read_bytes()
    return hashlib.sha256(content).hexdigest()


def wait_for_steps(lab: Lab, count: int) -> None:
    """Until the log of a training under way has `count` lines."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        logs = list((lab.root / "store" / "training").glob(".*.partial/train_log.csv"))
        if logs and len(logs[0].read_text().splitlines()) > count:
            return
        time.sleep(0.02)
    pytest.fail("the training did not start")


def test_a_terminated_training_leaves_a_checkpoint_and_resumes(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    other = lab.sharing(tmp_path / "lab", without="training")
    process = other.start(*LONG)
    wait_for_steps(other, 3)
    process.send_signal(signal.SIGTERM)
    killed = other.end(process, set())
    assert killed.status == 143
    assert "Traceback" not in killed.err
    assert killed.json("status.json")["status"] == "KILLED"
    (checkpoint,) = (other.root / "store" / "training").glob(".*.partial/checkpoints/step_*")
    assert f"checkpoint at step {int(checkpoint.name[-8:])} of 40" in killed.out

    resumed = other.here(*LONG)
    assert f"resumed from the checkpoint of step {int(checkpoint.name[-8:])}" in resumed.out
    uninterrupted = lab.here(*LONG)
    assert "resumed" not in uninterrupted.out
    assert [(row["step"], row["loss"], row["samples"]) for row in train_log(resumed)] == [
        (row["step"], row["loss"], row["samples"]) for row in train_log(uninterrupted)
    ]
    assert weights(resumed) == weights(uninterrupted)


def test_training_again_reuses_the_weights_whatever_does_not_change_them(lab: Lab, main_job: Ended) -> None:
    again = lab.here(*SCENES, *TOY, "task=train", "training.save_every=7", "training.micro_batch=2")
    assert weights(again) == weights(main_job)
    assert {name.partition("/")[0] for name, stage in again.json("stages.json").items() if not stage["reused"]} == set()
