"""Records that another process writes: the same as this one would, whole and in order, however the work ends."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t2i import recording, tracking
from t2i.errors import ConfigError
from t2i.recording import NotRecorded, Recorded, make_places
from t2i.tracker import Input, NullTracker
from t2i.tracking import Tracking

from .conftest import PROJECT


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    root = tmp_path_factory.mktemp("recording")
    return Tracking(uri=f"sqlite:///{root}/mlflow.db", artifacts=str(root / "artifacts"))


@pytest.fixture(scope="module")
def client(config: Tracking) -> Any:
    tracking.prepare(config)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=config.uri)


def runs(client: Any) -> dict[str, Any]:
    """Every run by its name."""
    return {run.info.run_name: run for run in client.search_runs(["1"])}


def test_both_processes_record_the_same(config: Tracking, client: Any, tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    file.write_text("{}")
    for number, begin in enumerate((tracking.start, recording.start)):
        tracker = begin(config, f"same {number}", tags={"command": "python run.py"})
        tracker.params({"seed": 3, "weights": None})
        for step in (1, 2, 3):
            tracker.metrics({"train/loss": 1.0 / step, "broken": float("nan")}, step)
        tracker.artifact(file, "figures")
        tracker.image(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), "grid", 2)
        tracker.inputs([Input("scenes", "0" * 32, "/store/prepared", "training")])
        tracker.model("lora", tmp_path, {"rank": 4})
        with tracker.child("cell") as child:
            child.metrics({"fid[tiny_clip]": 12.5})
        place = tracker.link
        assert place is not None and str(tracker.run_id) in place
        tracker.close("FINISHED")

    ours = [runs(client)[f"same {number}"] for number in (0, 1)]
    for read in (
        lambda run: (run.info.status, run.data.params, run.data.metrics, len(run.outputs.model_outputs)),
        lambda run: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "train/loss")],
        lambda run: [file.path for file in client.list_artifacts(run.info.run_id, "figures")],
        lambda run: len(client.list_artifacts(run.info.run_id, "images")),
        lambda run: [(one.dataset.name, one.tags[0].value) for one in run.inputs.dataset_inputs],
        lambda run: {key: run.data.tags[key] for key in ("command", "t2i.owner.host", "t2i.owner.pid")},
        lambda run: [
            (cell.info.status, cell.data.metrics, cell.data.tags["command"])
            for cell in client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
        ],
    ):
        assert read(ours[1]) == read(ours[0])


def test_a_run_begins_with_its_work_and_a_mistake_before_leaves_none(config: Tracking, client: Any) -> None:
    mistaken = recording.start(config, "mistaken")
    mistaken.params({"seed": 3})
    mistaken.tags({"note": "typed wrongly"})
    mistaken.close("FAILED")
    failed = recording.start(config, "failed")
    failed.params({"seed": 3})
    before = time.time()
    failed.begin()
    failed.close("FAILED")
    (run,) = [own for name, own in runs(client).items() if name in ("mistaken", "failed")]
    assert (run.info.run_name, run.info.status, run.data.params) == ("failed", "FAILED", {"seed": "3"})
    assert run.info.start_time <= int(before * 1000) <= run.info.end_time, (
        "from when it was told, not from when MLflow was there"
    )


def test_a_run_without_a_record_but_its_end_is_there(config: Tracking, client: Any) -> None:
    recording.start(config, "nothing asked for").close("FINISHED")
    assert runs(client)["nothing asked for"].info.status == "FINISHED"


def test_runs_of_a_multirun_have_their_parent_which_begins_with_the_first(config: Tracking, client: Any) -> None:
    parent = recording.start(config, "grid")
    recording.start(config, "typed wrongly", parent).close("FAILED")
    assert "grid" not in runs(client)
    run = recording.start(config, "first of the grid", parent)
    run.close("FINISHED")
    parent.close("FINISHED")
    found = runs(client)
    assert found["first of the grid"].data.tags["mlflow.parentRunId"] == found["grid"].info.run_id == parent.run_id
    named = recording.start(config, "elsewhere", parent.run_id)
    named.close("FINISHED")
    assert runs(client)["elsewhere"].data.tags["mlflow.parentRunId"] == parent.run_id


def test_a_file_is_recorded_as_it_was(config: Tracking, client: Any, tmp_path: Path) -> None:
    tracker = recording.start(config, "moved")
    assert isinstance(tracker, Recorded)
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "picture.txt").write_text("as it was")
    tracker.artifact(tmp_path / "partial" / "picture.txt")
    os.rename(tmp_path / "partial", tmp_path / "finished")
    (tmp_path / "finished" / "picture.txt").unlink()
    with pytest.raises(FileNotFoundError):
        tracker.artifact(tmp_path / "missing.txt")
    tracker.close("FINISHED")
    assert Path(client.download_artifacts(tracker.run_id, "picture.txt")).read_text() == "as it was"
    assert tracker._recorder is not None and not list(tracker._recorder.spool.glob(f"{tracker._number}/*"))


def test_a_record_that_mlflow_refuses_is_an_error(config: Tracking, client: Any) -> None:
    tracker = recording.start(config, "refused")
    tracker.begin()
    tracker.params({"rate": 1})
    tracker.params({"rate": 2})
    with pytest.raises(NotRecorded, match="already logged"):
        _ = tracker.link
    tracker.close("FAILED")
    assert runs(client)["refused"].info.status == "FAILED"


def test_a_record_of_a_child_that_mlflow_refuses_is_an_error_at_the_end(config: Tracking, client: Any) -> None:
    tracker = recording.start(config, "above")
    tracker.params({"changed.sweeps.also.kid[tiny_clip]": "minimize"})
    with tracker.child("below") as child:
        child.params({"rate": 1})
        child.params({"rate": 2})
    with pytest.raises(NotRecorded, match="already logged"):
        tracker.close("FINISHED")
    found = runs(client)
    assert found["above"].data.params == {"changed.sweeps.also.kid.tiny_clip": "minimize"}
    assert found["below"].data.params == {"rate": "1"}


def test_a_database_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    tracker = recording.start(Tracking(uri="nothing://here", artifacts=str(tmp_path)), "no database")
    tracker.metrics({"loss": 1.0})
    with pytest.raises((NotRecorded, OSError)):
        tracker.close("FINISHED")


KILLED = """
import os, signal, sys
from t2i import recording
from t2i.tracking import Tracking

tracker = recording.start(Tracking(uri=sys.argv[1], artifacts=sys.argv[2]), "killed")
for step in range(40):
    tracker.metrics({"loss": 1.0 / (1 + step)}, step)
# what is told is in the pipe, and MLflow is not imported yet
while not tracker._recorder._lines.empty():
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_told_is_written_though_the_work_is_killed(config: Tracking, client: Any) -> None:
    surroundings = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", KILLED, config.uri, config.artifacts], env=surroundings, timeout=100)
    assert done.returncode == -9
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        run = runs(client).get("killed")
        if run is not None and run.info.status != "RUNNING":
            break
        time.sleep(0.2)
    assert run is not None and run.info.status == "KILLED"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [point.step for point in history] == list(range(40))


def test_nothing_is_recorded_and_no_process_started_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "Recorder", None)
    tracker = recording.start(Tracking(enabled=False), "nothing")
    assert isinstance(tracker, NullTracker)
    tracker.begin()
    tracker.metrics({"loss": 1.0})
    tracker.close("FINISHED")


def test_places_that_cannot_be_made_are_told_before_there_is_a_run(tmp_path: Path) -> None:
    fine = {"uri": f"sqlite:///{tmp_path}/new/mlflow.db", "artifacts": str(tmp_path / "files")}
    make_places(Tracking(**fine))
    assert (tmp_path / "new").is_dir() and (tmp_path / "files").is_dir()
    for key, value in (("uri", "sqlite:////proc/x/mlflow.db"), ("artifacts", "/proc/x")):
        with pytest.raises(
            ConfigError, match=f"^track.{key}={value}: /proc/x cannot be made .*; give a place of yours"
        ):
            make_places(Tracking(**{**fine, key: value}))
        make_places(Tracking(**{**fine, key: value, "enabled": False}))
    make_places(Tracking(uri="https://server:5000", artifacts="s3://bucket/files"))
