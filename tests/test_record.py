"""What the tracker is told of a run: its name, what it changed, and numbers under one name whatever task wrote them."""

import json
from pathlib import Path

import pytest

from t2i import record
from t2i.config import Task, as_dict, compose
from t2i.headline import MAIN, UNTRACKED, name_of, params_of
from t2i.sampling.recipe import NEEDED
from t2i.store import Stage


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["task=train", "dataset.domains=[animal]"], "lora r4 on scenes:animal, 150 steps"),
        (["dataset.domains=[animal,food]"], "lora r4 on scenes:animal+food, 150 steps"),
        (["strategy=attn2_to_v", "training.epochs=2"], "attn2_to_v on scenes, 2 epochs"),
        (["parts=[data,sweep]"], "tiny on scenes: data, sweep"),
        (["task=evaluate", "scheduler=euler", "scheduler.steps=20", "cfg.scale=5"],
         "evaluate tiny on scenes, euler 20 steps, guidance 5"),
        (["task=evaluate", "weights=/runs/12-00-00_train_ab12cd"],
         "evaluate tiny with 12-00-00_train_ab12cd on scenes, dpmpp_2m 25 steps, guidance 7.5"),
        (["task=compare", "runs=[/a/one,/b/two]"], "compare one and two"),
        (["task=compare"], "compare no runs"),
        (["task=diff"], "diff of no runs"),
        (["task=bundle"], "bundle of no run"),
        (["task=rerun"], "rerun no bundle"),
        (["task=prepare"], "prepare scenes"),
        (["task=generate", "recipe=/nowhere/a.png"], "generate a.png again"),
    ],
)  # fmt: skip
def test_a_run_is_named_by_what_it_does(overrides: list[str], name: str) -> None:
    assert name_of(compose(overrides)) == name


@pytest.mark.parametrize(("weights", "typed", "told"), [
    (None, [], "tiny_sdxl"),
    ({"path": "/runs/12-00-00_train_ab12cd/weights", "digest": "d"}, [], "tiny_sdxl with 12-00-00_train_ab12cd"),
    ({"path": ["/a/one.safetensors", "/b/two"], "scale": [1, 0.5]}, [], "tiny_sdxl with one.safetensors and two"),
    ({"path": "/gone/words", "digest": "d"}, ["weights=/moved/here"], "tiny_sdxl with here"),
])  # fmt: skip
def test_a_recipe_is_announced_by_what_it_draws(
    tmp_path: Path, weights: dict[str, object] | None, typed: list[str], told: str
) -> None:
    config = compose(["task=generate", "model=tiny_sdxl", "scheduler=ddim", "scheduler.steps=8", "cfg.scale=3"])
    values = as_dict(config)
    recipe = {key: values[key] for key in ("model", "scheduler", "cfg")} | {"weights": weights}
    path = tmp_path / "000003.json"
    path.write_text(json.dumps(dict.fromkeys(NEEDED, 0) | recipe), encoding="utf-8")
    name = name_of(compose(["task=generate", f"recipe={path}", *typed]))
    assert name == f"generate 000003.json again: {told}, ddim 8 steps, guidance 3"


@pytest.mark.parametrize("task", list(Task))
def test_every_task_has_a_name(task: Task) -> None:
    assert name_of(compose([f"task={task.value}"]))


def test_what_was_changed_comes_first_and_what_tables_are_sorted_by_is_always_there() -> None:
    params = params_of(compose(["strategy.rank=8", "training.steps=10", "outputs=/elsewhere", "track.enabled=false"]))
    assert set(list(params)[:2]) == {"changed.strategy.rank", "changed.training.steps"}
    assert {key for key in params if key.startswith("changed.")} == {"changed.strategy.rank", "changed.training.steps"}
    assert set(MAIN) <= params.keys() and params["training.steps"] == 10
    assert [key for key in params_of(compose([])) if key.startswith("changed.")] == []


def test_a_number_has_one_name_whatever_task_wrote_it() -> None:
    metrics = {
        "data/captions": 10.0, "embed/captions": 9.0, "verify/trainable_parameters": 5.0, "train/trainable_parameters": 5.0,
        "base/fid[x]": 2.0, "tuned/fid[x]": 1.0, "comparison/fid[x].p": 0.1, "sweep/best.fid[x]": 0.5,
        "charts/guidance/5/clip_score": 3.0, "memorisation/distance_base": 0.2, "held_out_loss/0-249": 0.3,
        "train/held_out_loss/0-249": 0.3,
    }  # fmt: skip
    assert record.shared_names(metrics) == {
        "captions": 10.0, "embed/captions": 9.0, "trainable_parameters": 5.0, "base/fid[x]": 2.0, "fid[x]": 1.0,
        "fid[x].p": 0.1, "best.fid[x]": 0.5, "charts/guidance/5/clip_score": 3.0, "memorisation/distance_base": 0.2,
        "held_out_loss/0-249": 0.3,
    }  # fmt: skip


def stage(name: str, number: int) -> Stage:
    return Stage(name, f"{number:032x}", Path(f"/store/{name}/{number:032x}"), False)


def test_every_stage_of_a_name_is_told() -> None:
    tags = record.digests([stage("prepared", 1), stage("generated", 2), stage("generated", 3)])
    assert tags == {"digest.prepared": f"{1:032x}", "digest.generated": f"{2:032x}, {3:032x}"}
    many = record.digests([stage("generated", n) for n in range(300)])["digest.generated"]
    assert len(many) <= record.TAG and many.split(", ")[1] == f"{1:032x}"[:12]


def test_inputs_are_the_data_and_the_references() -> None:
    told = record.inputs(compose([]), [stage("prepared", 1), stage("generated", 2), stage("reference", 3)])
    assert [(one.name, one.digest, one.context) for one in told] == [
        ("scenes prepared", f"{1:032x}", "training"),
        ("scenes reference", f"{3:032x}", "evaluation"),
    ]


def test_the_source_of_a_run_is_what_was_typed_and_its_commit() -> None:
    tags = record.sources({"git": {"commit": "f00", "dirty": "false"}}, ["task=train", "prompts=[a cat]"])
    assert tags["command"] == "python run.py task=train 'prompts=[a cat]'"
    assert tags["mlflow.source.name"] == "run.py", "the page shows what follows the last slash"
    assert (tags["mlflow.source.type"], tags["mlflow.source.git.commit"]) == ("LOCAL", "f00")
    assert "mlflow.source.git.commit" not in record.sources({"git": {}}, [])


def test_tasks_that_measure_nothing_leave_no_run() -> None:
    assert {task.value for task in UNTRACKED} == {"diff", "report", "bundle", "serve", "prompt", "doctor", "store"}
