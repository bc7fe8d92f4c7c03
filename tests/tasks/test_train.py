"""A training that is killed goes on where it was, and ends as if nothing had happened."""

import csv
import hashlib
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ..conftest import SCENES, TOY, Ended, Lab
from ..test_launch import train_log

LONG = [*SCENES, *TOY, "task=train", "training.steps=20", "training.export_pipeline=false"]


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
    assert f"checkpoint at step {int(checkpoint.name[-8:])} of 20" in killed.out

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


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def test_pictures_are_drawn_at_every_checkpoint_and_are_those_of_the_exported_weights(
    lab: Lab, main_job: Ended, tmp_path: Path
) -> None:
    other = lab.sharing(tmp_path / "lab", without="training")
    prompts = "['a red cat', 'two dogs', 'a bus']"
    settings = [*SCENES, *TOY, "task=train", "training.save_every=2", "strategy.learning_rate=0.05"]
    watched = other.here(*settings, "training.validation_images=3", f"training.validation_prompts={prompts}")
    assert weights(watched) == weights(lab.here(*settings, "training.validation_images=0"))
    folder = watched.folder / "validation"
    assert [path.name for path in sorted(folder.glob("step_*"))] == [f"step_0000000{n}" for n in (0, 2, 4)]
    base = lab.here("task=generate", f"prompts={prompts}", *SCENES, *TOY)
    tuned = lab.here("task=generate", f"prompts={prompts}", f"weights={watched.folder}", *SCENES, *TOY)
    for generated, step in ((base, 0), (tuned, 4)):
        for i in range(3):
            theirs = pixels(folder / f"step_0000000{step}" / f"{i:06d}.png")
            ours = pixels(generated.folder / "images" / f"{i:06d}.png")
            assert np.abs(theirs - ours).max() <= 1, (step, i)
    last = [pixels(folder / f"step_0000000{step}" / "000000.png") for step in (0, 4)]
    assert np.abs(last[0] - last[1]).max() > 10, "the training has changed what is drawn"
    with open(folder / "scores.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["step"]) for row in rows] == [0, 2, 4]
    assert all(0 < float(row["low"]) <= float(row["clip_score"]) <= float(row["high"]) < 100 for row in rows)
    assert (watched.folder / "figures" / "validation_samples.png").exists()


def test_which_pictures_are_trained_on_follows_from_data_and_number_alone() -> None:
    """Stages know them by the prepared data and the number: a seed that changes neither may not change the choice."""
    from types import SimpleNamespace

    from t2i.config import compose
    from t2i.tasks.shared import training_split

    class Ids(SimpleNamespace):
        def __len__(self) -> int:
            return len(self.ids)

        def part(self, rows: Any) -> "Ids":
            return Ids(ids=[int(row) for row in rows])

        def repeated(self) -> list[int]:
            return self.ids

    data: Any = SimpleNamespace(split=lambda name: Ids(ids=[f"picture {i}" for i in range(40)]))
    chosen = [training_split(compose(["training.images=10", f"dataset.seed={seed}"]), data) for seed in (0, 1)]
    assert chosen[0] == chosen[1] and len(set(chosen[0])) == 10
