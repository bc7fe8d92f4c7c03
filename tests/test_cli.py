"""Command lines that users type: exit status, and exactly one sentence on standard error."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from t2i.arguments import DEMO, or_demo

from .conftest import PROJECT, TOY, Ended, Lab

PREPARE = ["task=prepare", "dataset.resolution=64"]


def sentence(ended: Ended) -> str:
    """The one line that a command printed about what went wrong."""
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("t2i: ")
    return lines[0]


# -- in processes of their own: what the shell sees ----------------------------------------------------------------------


def test_an_unknown_task_is_named_with_the_known_ones(empty_lab: Lab) -> None:
    ended = empty_lab.away("task=trian")
    assert ended.status == 2
    assert "task=trian" in sentence(ended)
    assert "prepare" in sentence(ended) and "train" in sentence(ended)
    assert ended.out == ""


def test_a_misspelt_key_is_named_with_the_near_one_and_the_valid_ones(empty_lab: Lab) -> None:
    ended = empty_lab.away("strategy.rnk=4")
    assert ended.status == 2
    assert "strategy.rnk is no key of the configuration (did you mean strategy.rank?)" in sentence(ended)
    assert re.search(r"use one of: .*alpha, .*learning_rate, .*rank, .*targets", sentence(ended))


def test_a_folder_that_does_not_exist_is_named(empty_lab: Lab) -> None:
    ended = empty_lab.away("task=prepare", "dataset=coco", "dataset.root=/nowhere")
    assert ended.status == 2
    assert "dataset.root=/nowhere does not exist" in sentence(ended)
    assert "annotations/captions_train2017.json" in sentence(ended)


def test_an_empty_folder_fails_the_run(empty_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = empty_lab.away(*PREPARE, "dataset=folder", f"dataset.root={tmp_path}/empty")
    assert ended.status == 1
    assert f"{tmp_path}/empty is empty" in sentence(ended)
    assert ended.json("status.json")["status"] == "FAILED"
    assert "UserError" in (ended.folder / "run.log").read_text()


# -- in this process: the same program -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["cfg.scale=nan"], "cfg.scale=nan is not between 0 and 100"),
        (
            ["scheduler=eulre"],
            "scheduler=eulre is unknown (did you mean scheduler=euler?); use one of: ddim, ddpm, deis, dpmpp_2m, ",
        ),
        (
            ["dataset=cooc"],
            "dataset=cooc is unknown (did you mean dataset=coco?); use one of: cifar10, coco, ",
        ),
        (["schedular=euler"], "(did you mean scheduler?)"),
        (["training.stesp=3"], "(did you mean training.steps?)"),
        (["+extra=1"], "extra is no key of the configuration"),
        (["++training.extra=1"], "training.extra is no key of the configuration"),
        (["training.steps=many"], "training.steps=many is not valid; an integer is expected"),
        (["training.steps=1.5"], "training.steps=1.5 is not valid; an integer is expected"),
        (["training.optimizer=adam"], "training.optimizer=adam is not valid; use one of: adamw, sgd"),
        (["debug=perhaps"], "debug=perhaps is not valid; true or false is expected"),
        (["sampling.channels_last=perhaps"], "is not valid; true or false, or null, is expected"),
        (["sweeps.direction=up"], "sweeps.direction=up is not valid; use one of: minimize, maximize, null"),
        (["launch.mixed_precision=fp8"], "launch.mixed_precision=fp8 is not valid; use one of: no, fp16, bf16"),
        (["scheduler=[ddim"], "scheduler=[ddim cannot be read"),
        (["prompts=[a cat, on a mat"], "prompts=[a cat, on a mat cannot be read"),
        (["prompts=a cat"], "prompts=a cat is no list; type 'prompts=[\"a cat\"]'"),
        (["train"], "train is no key=value; type task=train"),
        (["weights=/nowhere", "task=generate"], "weights=/nowhere does not exist"),
        (["experiment=nothing"], "experiment=nothing is unknown"),
        (["task=verify", "model.source=/nowhere"], "model.source=/nowhere does not exist"),
        (["task=report"], "no pipeline run below"),
        (["task=report", "runs=[/nowhere]"], "runs=/nowhere"),
        (["task=generate", "weights=."], "weights=. holds no tuned weights"),
        (["sweeps.space={seed:5}"], "sweeps.space.seed is 5, not a list of values"),
        (["scheduler.options.beta=1"], "scheduler.options.beta is not there yet; to add it, put a plus before: "),
        (["model.parameters=3"], "model.parameters=3 is not valid; a mapping such as {a: 1} is expected"),
        (["training=long"], "training=long is not valid; training has keys below it: steps, "),
        (["hydra.nothing=1"], "hydra.nothing is not there yet"),
        (["~cfg"], "cfg is not set"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_what_to_type(
    empty_lab: Lab, arguments: list[str], expected: str
) -> None:
    ended = empty_lab.here("task=prepare", "dataset.train=1", "dataset.val=1", *arguments)
    assert expected in sentence(ended)
    assert ended.status == 2


def test_more_captions_than_there_are_is_said_before_any_work(lab: Lab) -> None:
    ended = lab.here(*TOY, "task=evaluate", "dataset.train=2", "dataset.val=2", "eval.images=1000")
    assert ended.status == 2
    assert "1000 held-out captions are needed and 10 are there" in sentence(ended)


def test_debug_shows_the_traceback(empty_lab: Lab) -> None:
    ended = empty_lab.here("task=prepare", "dataset=coco", "dataset.root=/nowhere", "debug=true")
    assert ended.status == 2
    assert "Traceback (most recent call last)" in ended.err
    assert ended.err.splitlines()[-1].startswith("t2i: dataset.root=/nowhere does not exist")


def test_what_nobody_foresaw_is_one_sentence_too(empty_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from t2i.tasks import prepare

    def breaks(*arguments: object) -> None:
        raise ZeroDivisionError("division by zero\nwith a second line")

    monkeypatch.setattr(prepare, "prepare", breaks)
    ended = empty_lab.here("task=prepare")
    assert ended.status == 1
    assert sentence(ended) == "t2i: ZeroDivisionError: division by zero (add debug=true for the traceback)"
    log = (ended.folder / "run.log").read_text()
    assert "Traceback (most recent call last)" in log and "with a second line" in log


def test_a_corrupt_image_is_set_aside_and_the_run_goes_on(empty_lab: Lab, folder_data: Path) -> None:
    (folder_data / "03.png").write_bytes((folder_data / "03.png").read_bytes()[:900])  # cut short
    arguments = [*PREPARE, "dataset=folder", f"dataset.root={folder_data}"]
    ended = empty_lab.here(*arguments, "dataset.quarantine=0.1")
    assert ended.metrics["quarantined"] == 1
    assert ended.metrics["train_images"] + ended.metrics["held_out_images"] == 11
    assert "1 unusable" in ended.out
    assert ended.err == ""

    over_quota = empty_lab.here(*arguments)
    assert over_quota.status == 1
    assert "1 of 12 images cannot be used (03.png" in sentence(over_quota)
    assert "dataset.quarantine=" in sentence(over_quota)


def test_help_and_the_configuration_are_shown_without_a_run(empty_lab: Lab) -> None:
    for arguments in (["--help"], ["--cfg", "job"], ["--info", "defaults"]):
        ended = empty_lab.here(*arguments)
        assert (ended.status, ended.folders, ended.err) == (0, [], "")
        assert len(ended.out) > 100


def test_a_run_leaves_its_record(lab: Lab) -> None:
    ended = lab.here("task=prepare", "dataset.train=6", "dataset.val=4", track=True)
    assert ended.err == ""
    assert re.fullmatch(r"\d\d-\d\d-\d\d_prepare_[0-9a-f]{6}", ended.folder.name)
    names = {path.name for path in ended.folder.iterdir()}
    assert names >= {"config.yaml", "metrics.json", "environment.json", "run.log", "status.json", "sections.json"}
    expected = {"train_images": 6.0, "held_out_images": 4.0, "captions": 50.0, "quarantined": 0.0}
    assert {name: ended.metrics[name] for name in expected} == expected
    assert ended.json("status.json") == {"status": "FINISHED"}

    config = (ended.folder / "config.yaml").read_text()
    assert "${" not in config and "???" not in config
    assert "train: 6" in config
    environment = ended.json("environment.json")
    assert environment["overrides"][-3:] == ["task=prepare", "dataset.train=6", "dataset.val=4"]
    assert environment["processes"] == 1

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=lab.uri)
    experiment = client.get_experiment_by_name("t2i")
    tag = f"tags.run_folder = '{ended.folder}'"
    (run,) = client.search_runs([experiment.experiment_id], tag)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "prepare scenes"
    assert ended.out.splitlines()[0] == "prepare scenes"
    assert run.data.metrics == ended.metrics
    changed = {key: value for key, value in run.data.params.items() if key.startswith("changed.")}
    assert changed == {"changed.dataset.train": "6", "changed.dataset.val": "4"}
    assert run.data.params["task"] == "prepare"
    assert run.data.tags["mlflow.source.git.commit"] == environment["git"]["commit"]
    assert [told.dataset.name for told in run.inputs.dataset_inputs] == ["scenes prepared"]
    assert run.data.tags["git.commit"] == environment["git"]["commit"]
    assert "digest.prepared" in run.data.tags
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert artifacts >= {"config.yaml", "metrics.json", "environment.json", "run.log", "figures"}


@pytest.mark.parametrize(
    ("typed", "demo"),
    [
        ([], True),
        (["outputs=/tmp/x", "plan=true", "track.enabled=false"], True),
        (["task=train"], False),
        (["training.steps=3"], False),
        (["--help"], False),
        (["experiment=coco_animals_tiny"], False),
        (["-m", "scheduler=ddim,euler"], False),
    ],
)
def test_who_says_nothing_gets_the_demo(typed: list[str], demo: bool) -> None:
    assert or_demo(typed) == ([*typed, DEMO] if demo else typed)


def test_the_demo_is_planned_without_a_word(empty_lab: Lab) -> None:
    ended = empty_lab.here("plan=true")
    assert ended.status == 0 and re.search(r"elsewhere", ended.out), ended.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("wait", [0.15, 0.6, 1.5])
def test_a_signal_while_it_starts_ends_it_without_a_traceback(tmp_path: Path, number: int, wait: float) -> None:
    """While modules are imported, the command line is composed, and the work begins."""
    command = [
        sys.executable,
        "run.py",
        "task=prepare",
        f"outputs={tmp_path}",
        "track.enabled=false",
        "dataset.train=20000",
    ]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(wait)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    early = process.returncode == -number  # before the first line of run.py
    assert early or (process.returncode == 128 + number and "Traceback" not in errors), errors
