"""The main job from one command: what it leaves, and that nothing is done twice."""

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from t2i.record import shared_names

from ..conftest import SCENES, SWEEP, TOY, Ended, Lab


@pytest.fixture(scope="module")
def repeated(lab: Lab, main_job: Ended) -> Ended:
    """The same command again."""
    return lab.here(*SCENES, *TOY, *SWEEP)


@pytest.fixture(scope="module")
def client(lab: Lab) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=lab.uri)


@pytest.fixture(scope="module")
def recorded(client: Any, main_job: Ended) -> Any:
    """The MLflow run of the main job."""
    experiment = client.get_experiment_by_name("t2i").experiment_id
    (run,) = client.search_runs([experiment], f"tags.run_folder = '{main_job.folder}'")
    return run


def test_the_run_folder_holds_everything(main_job: Ended) -> None:
    folder = main_job.folder
    files = (
        "config.yaml metrics.json environment.json run.log status.json sections.json stages.json stages.txt evaluated.json "
        "report.html train_log.csv summary.html summary.md metrics.csv"
    )
    vectors = (
        "text_embeddings.npy text_embeddings_pooled.npy text_index.json captions_subset.json"  # links into the store
    )
    assert {path.name for path in folder.iterdir() if path.is_file()} == {*files.split(), *vectors.split()}
    assert main_job.json("status.json") == {"status": "FINISHED"}
    assert (folder / "weights" / "pytorch_lora_weights.safetensors").exists()
    assert (folder / "pipeline" / "model_index.json").exists()
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert figures >= {
        "training_pictures",
        "caption_similarity",
        "training_loss",
        "base_versus_tuned",
        "changes",
        "nearest_training",
        "generated_samples_grid",
        "heat_map_clip_score",
    }
    assert not [name for name in figures if name.startswith("metric_")], "a figure of two dots"


def test_the_numbers_that_a_user_looks_for_are_there(main_job: Ended) -> None:
    numbers = main_job.metrics
    for model in ("base", "tuned"):
        for metric in ("fid[tiny_clip]", "clip_score[tiny_clip]"):
            name = f"{model}/{metric}"
            assert numbers[f"{name}.low"] <= numbers[name] <= numbers[f"{name}.high"]
    assert numbers["train/images_per_second"] > 0
    assert numbers["train/peak_memory_mb"] > 100
    assert 0 < numbers["train/final_loss"] < 10
    assert numbers["train/steps"] == 4
    assert numbers["verify/trainable_parameters"] == numbers["train/trainable_parameters"]
    assert (numbers["data/train_images"], numbers["data/held_out_images"]) == (24, 12)
    assert (numbers["sweep/cells"], numbers["sweep/new_cells"]) == (2, 2)


def test_the_gap_of_training_captions_is_the_difference_of_both_gains(main_job: Ended) -> None:
    numbers = {name.partition("/")[2]: v for name, v in main_job.metrics.items() if name.startswith("memorisation/")}
    gain = main_job.metrics["tuned/clip_score[tiny_clip]"] - main_job.metrics["base/clip_score[tiny_clip]"]
    assert numbers["clip_score_gain_held_out"] == pytest.approx(gain)
    assert numbers["clip_score_gap"] == pytest.approx(numbers["clip_score_gain_train"] - gain)
    assert numbers["clip_score_gap.low"] <= numbers["clip_score_gap"] <= numbers["clip_score_gap.high"]
    assert 0 < numbers["distance_real"] < 1 and 0 < numbers["distance_tuned"] < 1


def test_the_exported_pipeline_gives_the_same_picture_in_plain_diffusers(main_job: Ended) -> None:
    assert main_job.metrics["train/reload_max_difference"] <= 1  # of 255 grey levels


def test_base_and_tuned_are_drawn_from_the_same_captions_and_seeds(lab: Lab, main_job: Ended) -> None:
    recipes: dict[str, set[tuple[tuple[str, int], ...]]] = {}
    for name in main_job.json("stages.json"):
        if name.startswith("generated/"):
            (folder,) = (lab.root / "store" / "generated").glob(name.partition("/")[2] + "*")
            facts = [json.loads(Image.open(path).text["t2i"]) for path in sorted(folder.glob("*.png"))]  # type: ignore[attr-defined]
            if facts[0]["cfg"]["scale"] == 7.5:
                pictures = tuple((fact["prompt"], fact["seed"]) for fact in facts)
                recipes.setdefault(str(facts[0]["weights"]), set()).add(pictures)
    base, tuned = recipes.values()
    assert base == tuned
    assert len(base) == 2  # held-out captions, and those that were trained on
    assert all([seed for _, seed in pictures] == [0, 1, 2, 3, 4, 5] for pictures in base)


def test_the_report_is_one_file_about_every_part(main_job: Ended) -> None:
    page = (main_job.folder / "report.html").read_text(encoding="utf-8")
    titles = [section["title"] for section in main_job.json("sections.json")]
    assert titles == [
        "Data",
        "Caption embeddings",
        "Captions and pictures paired",
        "Wiring",
        "Training",
        "While it trained",
        "Base against tuned",
        "Samples and numbers",
        "Memorisation",
        "Sweep",
    ]
    for title in titles:
        assert f">{title}<" in page
    assert page.count("data:image/png;base64,") >= 8
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "python run.py" in page and "scheduler.steps=2" in page


def test_mlflow_has_the_same_content(client: Any, recorded: Any, main_job: Ended) -> None:
    assert recorded.info.status == "FINISHED"
    named = shared_names(main_job.metrics)
    assert {
        "fid[tiny_clip]",
        "base/fid[tiny_clip]",
        "held_out_loss",
    } <= named.keys() and "tuned/fid[tiny_clip]" not in named
    plain = {re.sub(r"[\[\]]", ".", name).replace("..", ".").strip("."): v for name, v in named.items()}
    during = ("train/", "validation/")  # which have a history
    stored = {name: value for name, value in recorded.data.metrics.items() if not name.startswith(during)}
    assert stored == pytest.approx({name: value for name, value in plain.items() if not name.startswith(during)})
    assert recorded.data.params["training.steps"] == "4"
    assert recorded.data.params["strategy.kind"] == "lora"
    assert recorded.data.tags["git.commit"] == main_job.json("environment.json")["git"]["commit"]
    assert {"digest.model", "digest.prepared"} <= recorded.data.tags.keys()
    assert len(recorded.data.tags["digest.generated"].split(", ")) > 1
    assert recorded.info.run_name == "lora r4 on scenes, 4 steps"
    assert {told.dataset.name for told in recorded.inputs.dataset_inputs} == {"scenes prepared", "scenes reference"}
    models = [client.get_logged_model(told.model_id) for told in recorded.outputs.model_outputs]
    assert str(main_job.folder / "weights") in {model.tags["path"] for model in models}
    pictures = {
        re.split("[%+]", Path(file.path).name)[0] for file in client.list_artifacts(recorded.info.run_id, "images")
    }
    assert pictures == {"validation", "base and tuned"}
    artifacts = {file.path for file in client.list_artifacts(recorded.info.run_id)}
    assert artifacts >= {"config.yaml", "metrics.json", "environment.json", "run.log", "report.html", "figures"}
    figures = {file.path for file in client.list_artifacts(recorded.info.run_id, "figures")}
    assert figures >= {"figures/base_versus_tuned.png", "figures/training_loss.png", "figures/heat_map_clip_score.png"}


def test_mlflow_has_the_loss_of_every_logged_step(client: Any, recorded: Any, main_job: Ended) -> None:
    with open(main_job.folder / "train_log.csv", newline="") as file:
        rows = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    assert [step for step, _ in rows] == [1, 2, 3, 4]
    history = client.get_metric_history(recorded.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == rows


def test_cells_of_the_sweep_are_child_runs(client: Any, recorded: Any) -> None:
    tag = f"tags.mlflow.parentRunId = '{recorded.info.run_id}'"
    cells = client.search_runs([recorded.info.experiment_id], tag)
    assert sorted(cell.data.params["scheduler.name"] for cell in cells) == ["ddim", "euler"]
    assert all("fid.tiny_clip" in cell.data.metrics for cell in cells)
    for cell in cells:
        assert any(".png" in file.path for file in client.list_artifacts(cell.info.run_id, "images"))


def test_the_second_run_reuses_every_stage_and_says_so(main_job: Ended, repeated: Ended) -> None:
    first, second = main_job.json("stages.json"), repeated.json("stages.json")
    assert second.keys() <= first.keys()  # of known cells of the sweep not even the pictures are asked for
    assert all(stage["reused"] for stage in second.values())
    log = (repeated.folder / "run.log").read_text(encoding="utf-8")
    assert "built " not in log and log.count("reused ") >= len(second)
    digest = re.compile(r"\b[0-9a-f]{12,}\b")
    for ended, most in ((main_job, 40), (repeated, 15)):
        lines = ended.out.splitlines()
        assert lines[0] == "pipeline: lora r4 on scenes, 4 steps"
        assert len(lines) <= most and not any(digest.search(line) for line in lines if not line.startswith("MLflow: "))
        assert any("tuned against base: cannot tell" in line for line in lines)


def test_the_second_run_gives_equal_numbers(main_job: Ended, repeated: Ended) -> None:
    first, second = main_job.metrics, repeated.metrics
    assert (first.pop("sweep/new_cells"), second.pop("sweep/new_cells")) == (2, 0)
    assert second == first


def test_the_report_can_be_made_again(lab: Lab, main_job: Ended) -> None:
    ended = lab.here("task=report", f"runs=[{main_job.folder}]")
    assert ended.metrics == {"sections": 10.0}
    again, first = ((run.folder / "report.html").read_text(encoding="utf-8") for run in (ended, main_job))
    assert again == first


def test_only_pictures_and_their_numbers_are_new_when_guidance_changes(lab: Lab, main_job: Ended) -> None:
    ended = lab.here(*SCENES, *TOY, "task=evaluate", "cfg.scale=3.25")  # a scale of no other test
    built = {name.partition("/")[0] for name, stage in ended.json("stages.json").items() if not stage["reused"]}
    assert built == {"generated", "metrics"}


class Terminal(io.StringIO):
    """A keyboard."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("keyboard", [Terminal("a red cat\n/quit\n"), io.StringIO("a red cat\n")])
def test_at_a_terminal_it_goes_on_with_its_own_weights(
    lab: Lab, main_job: Ended, keyboard: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", keyboard)
    ended = lab.here(*SCENES, *TOY, "parts=[train]", "then=prompt")
    assert ended.status == 0, ended.err
    first, *following = ended.folders
    if keyboard.isatty():
        assert [path.name for path in following] == [first.name.replace("pipeline", "prompt")]
        (recipe,) = (following[0] / "images").glob("*.json")
        assert json.loads(recipe.read_text())["weights"]["path"] == str(first / "weights")
    else:
        assert following == [] and f"task=prompt weights={first}" in ended.out
