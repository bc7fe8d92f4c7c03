"""`task=curve`: every kept checkpoint of a training is measured once, and what they say stands in one section."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from t2i.config import compose
from t2i.context import Run
from t2i.stages.checkpoint import Checkpoint
from t2i.stages.stage import made
from t2i.stages.training import Trained, Training
from t2i.store import Store, sha256_file

from ..conftest import SCENES, TOY, Ended, Lab

TRAINED = [*SCENES, *TOY, "training.milestones=[2,4]", "training.validation_images=0", "training.export_pipeline=false"]
MEASURED = ["eval.images=12", "eval.metrics=[kid,clip_score]"]
RATE = "strategy.learning_rate=1e-3"


@pytest.fixture(scope="module")
def whole(lab: Lab) -> Ended:
    """A pipeline whose training keeps two milestones, the second one its last step."""
    ended = lab.here(*TRAINED, *MEASURED, RATE, "parts=[data,train,compare]", track=True)
    assert ended.status == 0, ended.err
    return ended


@pytest.fixture(scope="module")
def alone(lab: Lab, whole: Ended) -> Ended:
    ended = lab.here("task=curve", f"run={whole.folder}", track=True)
    assert ended.status == 0, ended.err
    return ended


def section(ended: Ended, title: str = "When to stop") -> dict[str, Any]:
    (found,) = [part for part in ended.json("sections.json") if part["title"] == title]
    return dict(found)


def test_the_record_of_a_curve_has_the_settings_that_acted(whole: Ended, alone: Ended) -> None:
    then, now = (yaml.safe_load((ended.folder / "config.yaml").read_text()) for ended in (whole, alone))
    for part in ("dataset", "model", "strategy", "training", "scheduler", "seed"):
        assert (
            {**then[part], "resume": "", "resume_force": ""} == {**now[part], "resume": "", "resume_force": ""}
            if isinstance(then[part], dict)
            else then[part] == now[part]
        ), part
    assert now["task"] == "curve" and now["run"] == str(whole.folder)


def test_a_pipeline_with_milestones_tells_its_curve(whole: Ended) -> None:
    (steps,), (every,) = section(whole)["tables"], section(whole, "Every checkpoint")["tables"]
    assert [row[0] for row in steps["rows"]] == ["base", "2", "4"]
    assert [row[1] for row in steps["rows"]].count("best") == 1 and steps["columns"][
        -1
    ] == "memorisation_distance[tiny_clip]"
    kid = [row for row in every["rows"] if row[0] == "kid[tiny_clip]"]
    assert kid[0][3:] == ["", ""] and all("p " in cell for row in kid[1:] for cell in row[3:])
    assert {row[0] for row in every["rows"]} == {
        "kid[tiny_clip]",
        "clip_score[tiny_clip]",
        "memorisation_distance[tiny_clip]",
    }
    assert (whole.folder / "figures" / "metrics_over_steps.png").exists()
    assert whole.metrics["curve/checkpoints"] == 2
    for key in ("kid[tiny_clip]", "clip_score[tiny_clip]"):
        assert whole.metrics[f"curve/0/{key}"] == whole.metrics[f"base/{key}"]
        assert whole.metrics[f"curve/4/{key}"] == whole.metrics[f"tuned/{key}"]
        change = whole.metrics[f"curve/4/{key}.difference"]
        assert change == pytest.approx(whole.metrics[f"comparison/{key}.difference"], rel=1e-6)


def test_the_same_alone_draws_nothing_twice(whole: Ended, alone: Ended) -> None:
    assert "built " not in alone.out
    numbers = {name.removeprefix("curve/"): value for name, value in whole.metrics.items() if name.startswith("curve/")}
    assert alone.metrics == numbers
    assert section(alone)["tables"] == section(whole)["tables"]
    assert "When should it have stopped?" in (alone.folder / "report.html").read_text(encoding="utf-8")


def test_each_checkpoint_is_drawn_by_its_own_weights(alone: Ended) -> None:
    steps = [alone.metrics[f"{step}/kid[tiny_clip]"] for step in (0, 2, 4)]
    assert len(set(steps)) == 3


def test_the_tracker_has_every_metric_at_its_step(lab: Lab, whole: Ended, alone: Ended) -> None:
    client = MlflowClient(lab.uri)
    experiment = client.get_experiment_by_name("t2i")
    (found,) = client.search_runs([experiment.experiment_id], f"tags.run_folder = '{alone.folder}'")
    assert found.info.run_name == f"curve of {whole.folder.name}"
    history = client.get_metric_history(found.info.run_id, "curve/kid.tiny_clip")
    assert [point.step for point in history] == [0, 2, 4]
    assert [point.value for point in history] == [alone.metrics[f"{step}/kid[tiny_clip]"] for step in (0, 2, 4)]


def test_a_curve_goes_on_where_it_was(lab: Lab, whole: Ended, tmp_path: Path) -> None:
    """Without the numbers of it, as a run that was killed leaves them: the pictures are not drawn again."""
    other = lab.sharing(tmp_path / "lab", without="metrics")
    ended = other.here("task=curve", f"run={whole.folder}")
    assert ended.status == 0, ended.err
    assert "built  metrics" in ended.out and "built  generated" not in ended.out


def test_other_captions_may_be_measured_and_another_training_may_not(lab: Lab, whole: Ended) -> None:
    fewer = lab.here("task=curve", f"run={whole.folder}", "eval.images=8", "eval.metrics=[clip_score]")
    assert fewer.status == 0, fewer.err
    assert "kid[tiny_clip]" not in {row[0] for row in section(fewer, "Every checkpoint")["tables"][0]["rows"]}
    for typed in ("dataset=pip", "training.steps=3", "strategy.rank=8", "model=tiny_sdxl", "experiment=pip"):
        refused = lab.here("task=curve", f"run={whole.folder}", typed)
        assert refused.status == 2
        assert "task=curve takes " in refused.err and f"{typed.partition('=')[0]}" in refused.err, refused.err
        assert "was typed; leave it out" in refused.err
    same = lab.here("task=curve", f"run={whole.folder}", *TRAINED, *MEASURED, "dataset=scenes", "plan=true")
    assert same.status == 0 and "0 to be made" in same.out, same.err


def test_what_is_no_run_with_checkpoints_is_refused(lab: Lab, whole: Ended, tuned_run: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(whole.folder, tmp_path / "bare", ignore=shutil.ignore_patterns("checkpoints"))
    near = whole.folder.with_name(whole.folder.name[:-1])
    for typed, sentence in (
        ([], "type run=<run folder>"),
        ([f"run={near}"], f"did you mean {whole.folder}?"),
        ([f"run={tuned_run}"], "is no run folder (config.yaml is missing)"),
        (
            [f"run={bare}"],
            "kept no checkpoint; train it again with training.milestones=[100,200,...] training.resume=never",
        ),
    ):
        ended = lab.here("task=curve", *typed)
        assert ended.status == 2 and sentence in ended.err, ended.err


def test_a_damaged_checkpoint_is_named(lab: Lab, whole: Ended, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whole.folder, tmp_path / "run"))
    path = copy / "checkpoints" / "step_00000002" / "parameters.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    other = lab.sharing(tmp_path / "lab", without="checkpoint")
    ended = other.here("task=curve", f"run={copy}")
    assert ended.status == 1 and "step_00000002 is damaged" in ended.err


def test_a_plan_tells_what_a_curve_needs(lab: Lab, whole: Ended, alone: Ended, empty_lab: Lab) -> None:
    told = lab.here("task=curve", f"run={whole.folder}", "plan=true")
    assert told.status == 0 and "0 to be made" in told.out and "step 2" in told.out
    before = empty_lab.here(*TRAINED, *MEASURED, RATE, "parts=[data,train,compare]", "plan=true")
    assert before.status == 0 and "checkpoints" in before.out


@pytest.mark.parametrize(
    # Trainings of their own: others of the same settings may have kept other checkpoints.
    "settings",
    [["strategy.rank=5"], ["training.ema=0.5"], ["strategy=attn2_to_v"]],
    ids=["lora", "average", "layers"],
)
def test_the_last_checkpoint_is_what_the_training_ends_with(lab: Lab, tmp_path: Path, settings: list[str]) -> None:
    """To the byte: so its pictures are those that are drawn anyway."""
    config = compose([*TRAINED, *settings, f"outputs={lab.root}"])
    run = Run(tmp_path, Store(lab.root / "store"))
    training = Training(config)
    ended = Trained(training).find(run).folder
    last, first = (made(Checkpoint(config, step, training), run).path / "weights" for step in (4, 2))
    for path in ended.glob("*.safetensors"):
        assert sha256_file(last / path.name) == sha256_file(path) != sha256_file(first / path.name)
    assert (last / "strategy.json").read_bytes() == (ended / "strategy.json").read_bytes()
