"""The whole experiment at toy size: what it leaves, that a second run does no work twice, and what a sweep records."""

import json

import pytest

from ..conftest import SCENES, TOY, Ended, Lab

SWEEP = ["sweeps.space={scheduler:[ddim,euler],cfg.scale:[1,7.5]}", "sweeps.fixed={scheduler.steps:2,eval.images:6}"]
PIPELINE = [*SCENES, *TOY, *SWEEP]


@pytest.fixture(scope="module")
def first(lab: Lab) -> Ended:
    return lab.here(*PIPELINE, track=True)


@pytest.fixture(scope="module")
def second(lab: Lab, first: Ended) -> Ended:
    return lab.here(*PIPELINE)


def test_the_numbers_of_base_and_tuned_have_intervals_around_them(first: Ended) -> None:
    for model in ("base", "tuned"):
        for name in ("fid[tiny_clip]", "clip_score[tiny_clip]"):
            value = first.metrics[f"{model}/{name}"]
            assert first.metrics[f"{model}/{name}.low"] <= value <= first.metrics[f"{model}/{name}.high"]
    assert first.metrics["train/steps"] == 4
    assert first.metrics["train/images_per_second"] > 0
    assert first.metrics["train/peak_memory_mb"] > 100
    assert 0 < first.metrics["train/final_loss"] < 10
    assert first.metrics["sweep/cells"] == first.metrics["sweep/new_cells"] == 4


def test_the_exported_pipeline_gives_the_picture_that_was_trained(first: Ended) -> None:
    assert first.metrics["train/reload_max_difference"] <= 1  # grey levels of 255
    assert (first.folder / "weights" / "pytorch_lora_weights.safetensors").exists()
    assert (first.folder / "pipeline" / "model_index.json").exists()


def test_the_report_is_one_page_with_every_figure_inside(first: Ended) -> None:
    page = (first.folder / "report.html").read_text(encoding="utf-8")
    figures = list((first.folder / "figures").glob("*.png"))
    assert {"base_versus_tuned.png", "training_loss.png", "heat_map_clip_score.png"} <= {f.name for f in figures}
    assert page.count("data:image/png;base64,") == len(figures)
    assert "http://" not in page and "https://" not in page


def test_a_second_run_reuses_every_stage_and_finds_the_same_numbers(first: Ended, second: Ended) -> None:
    assert all(stage["reused"] for stage in second.json("stages.json").values())
    assert len(second.json("stages.json")) == len(first.json("stages.json"))
    changed = {name for name in first.metrics if first.metrics[name] != second.metrics[name]}
    assert changed == {"sweep/new_cells"}
    assert second.metrics["sweep/new_cells"] == 0


def test_tuned_weights_are_found_through_the_run_folder(lab: Lab, first: Ended) -> None:
    ended = lab.here("task=evaluate", *SCENES, *TOY, f"weights={first.folder}")
    assert ended.metrics["clip_score[tiny_clip]"] == first.metrics["tuned/clip_score[tiny_clip]"]
    assert json.loads((ended.folder / "definition.json").read_text())["generated_count"] == 6


def test_the_sweep_is_a_parent_with_one_child_a_cell(lab: Lab, first: Ended) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=lab.uri)
    experiment = client.get_experiment_by_name("t2i")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], f"tags.run_folder = '{first.folder}'")
    children = client.search_runs(
        [experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    cells = {(run.data.params["scheduler.name"], run.data.params["cfg.scale"]) for run in children}
    assert cells == {("ddim", "1.0"), ("ddim", "7.5"), ("euler", "1.0"), ("euler", "7.5")}
    figures = {file.path for file in client.list_artifacts(parent.info.run_id, "figures")}
    assert "figures/base_versus_tuned.png" in figures
    assert parent.data.tags["digest.model"] == json.loads((first.folder / "weights" / "strategy.json").read_text())["base_digest"]


def test_a_multirun_makes_a_run_for_every_cell_below_one_parent(lab: Lab) -> None:
    ended = lab.away("-m", "task=evaluate", "scheduler=ddim,euler", "cfg.scale=5,7.5", *SCENES, *TOY, track=True)
    assert ended.status == 0, ended.err
    assert len(ended.folders) == 4
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=lab.uri)
    experiment = client.get_experiment_by_name("t2i")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "attributes.run_name LIKE 'evaluate %'")
    own = [run for run in runs if run.data.tags.get("run_folder") in {str(folder) for folder in ended.folders}]
    assert {(run.data.params["scheduler.name"], run.data.params["cfg.scale"]) for run in own} == {
        ("ddim", "5.0"), ("ddim", "7.5"), ("euler", "5.0"), ("euler", "7.5"),
    }  # fmt: skip
    assert len({run.data.tags["mlflow.parentRunId"] for run in own}) == 1
