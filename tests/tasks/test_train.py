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
    from t2i.stages.prepared import training_split

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


# -- what is asked of a training that is finished --------------------------------------------------------------------

PLAIN = [
    *SCENES,
    *TOY,
    "task=train",
    "training.seed=5",
    "training.export_pipeline=false",
    "training.validation_images=0",
]


def test_a_pipeline_that_is_asked_for_later_is_exported_from_the_finished_weights(lab: Lab, main_job: Ended) -> None:
    without = lab.here(*PLAIN)
    assert not (without.folder / "pipeline").exists()
    later = lab.here(*PLAIN, "training.export_pipeline=true")
    assert weights(later) == weights(without) and "reused training" in later.out
    assert later.metrics["reload_max_difference"] <= 1
    from diffusers import StableDiffusionPipeline

    assert StableDiffusionPipeline.from_pretrained(later.folder / "pipeline", safety_checker=None).unet is not None


@pytest.mark.parametrize(
    ("asked", "left"),
    [("training.milestones=[2]", "checkpoints/step_00000002/parameters.safetensors"),
     ("training.validation_images=2", "validation/step_00000004/000001.png")],
    ids=["milestones", "validation pictures"],
)  # fmt: skip
def test_what_a_finished_training_did_not_keep_is_said_and_can_be_had(
    lab: Lab, main_job: Ended, asked: str, left: str
) -> None:
    without = lab.here(*PLAIN)
    told = lab.here(*PLAIN, asked)
    assert not (told.folder / left).exists() and weights(told) == weights(without)
    (line,) = [line for line in told.out.splitlines() if line.startswith(asked.partition("=")[0])]
    assert "this training is finished" in line and "training.resume=never" in line
    again = lab.here(*PLAIN, asked, "training.resume=never")
    assert (again.folder / left).exists() and weights(again) == weights(without)
    assert "reused training" in lab.here(*PLAIN, asked, "training.resume=never").out


def test_milestones_beyond_the_end_are_refused(empty_lab: Lab) -> None:
    ended = empty_lab.here(*PLAIN, "training.milestones=[2,9]")
    assert ended.status == 2 and "holds 9 and the training has 4 steps" in ended.err


# -- before the first step -------------------------------------------------------------------------------------------


def stages_of(lab: Lab) -> set[str]:
    """Names of the stages that the store holds, finished or not."""
    return {path.name for path in (lab.root / "store").glob("*") if path.is_dir() and any(path.glob("*/*"))}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [(["strategy.use_dora=true", "strategy.targets=[conv1]"], "tuned weights, saved and loaded again"),
     (["strategy.targets=[]", "strategy.text_targets=[token_embedding]"], "tuned weights, saved and loaded again")],
    ids=["DoRA on convolutions", "LoRA on an embedding"],
)  # fmt: skip
def test_what_could_not_be_exported_is_told_before_anything_is_trained(
    lab: Lab, main_job: Ended, settings: list[str], sentence: str
) -> None:
    """Should it become possible, the training ends well; failing after it is what may not be."""
    before = stages_of(lab)
    ended = lab.here(*PLAIN, "training.seed=6", *settings)
    if ended.status == 0:
        assert (ended.folder / "weights").exists()
        return
    assert ended.status == 1 and sentence in ended.err and stages_of(lab) == before
    assert not list((lab.root / "store" / "training").glob(".*.partial/train_log.csv"))


@pytest.mark.parametrize("task", ["pipeline", "train"])
def test_a_model_that_is_not_there_is_told_before_data_are_prepared(empty_lab: Lab, task: str) -> None:
    ended = empty_lab.here(*SCENES, *TOY, f"task={task}", f"model.source={empty_lab.root}/nowhere")
    assert ended.status != 0 and "nowhere" in ended.err
    assert stages_of(empty_lab) == set()


def test_a_default_number_of_pictures_that_the_data_do_not_have_adapts(lab: Lab, main_job: Ended) -> None:
    toy = [item for item in TOY if not item.startswith("eval.images")]
    few = [*SCENES, *toy, "dataset.val=2", "task=evaluate", "eval.metrics=[clip_score]"]
    ended = lab.here(*few)
    assert ended.status == 0, ended.err
    (line,) = [line for line in ended.out.splitlines() if line.startswith("eval.images=")]
    count = int(line.partition("=")[2].split()[0])
    assert 2 <= count < 100 and "in place of the default of 100" in line
    chosen = lab.here(*few, "eval.images=100")
    assert chosen.status == 2 and f"and {count} are there" in chosen.err


def test_a_pipeline_counts_its_captions_before_it_trains(empty_lab: Lab) -> None:
    ended = empty_lab.here("dataset.train=4", "dataset.val=2", *TOY, "eval.images=1000")
    assert ended.status == 2 and "1000 held-out captions are needed and" in ended.err
    assert "training" not in stages_of(empty_lab) and "text_embeddings" not in stages_of(empty_lab)


# -- the noise schedule that was trained -----------------------------------------------------------------------------


def test_a_terminal_snr_of_zero_is_in_the_exported_pipeline(lab: Lab, main_job: Ended) -> None:
    trained = lab.here(*SCENES, *TOY, "task=train", "training.zero_terminal_snr=true", "training.validation_images=0")
    assert trained.metrics["reload_max_difference"] <= 1
    from diffusers import StableDiffusionPipeline

    scheduler = StableDiffusionPipeline.from_pretrained(trained.folder / "pipeline", safety_checker=None).scheduler
    scheduler.set_timesteps(4)
    assert float(scheduler.alphas_cumprod[-1]) == 0.0 and int(scheduler.timesteps[0]) == 999
    draw = ["task=generate", "prompts=['a red cat']", f"weights={trained.folder}", *SCENES, *TOY]
    for name in ("pndm", "lms", "heun", "deis"):
        refused = lab.here(*draw, f"scheduler={name}")
        assert refused.status == 2 and f"scheduler={name} ignores" in refused.err and "ddim" in refused.err
    for name in ("ddim", "euler", "dpmpp_2m"):
        assert lab.here(*draw, f"scheduler={name}", "scheduler.steps=4").status == 0
    watched = lab.here(
        *SCENES, *TOY, "task=train", "training.zero_terminal_snr=true", "training.seed=9", "scheduler=pndm"
    )
    assert watched.status == 2 and "scheduler=pndm ignores" in watched.err, "before the first step"
