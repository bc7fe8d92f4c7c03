"""Runs in MLflow: what is recorded, that several processes may start at once, and that nothing is recorded when asked."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from t2i import owner, tracking
from t2i.tracking import KIND, Input, MLflowTracker, NullTracker, Tracking, metric_name

from .conftest import PROJECT, Ended

# Importing mlflow takes seconds, so the processes are forked after it; none of them has opened the database yet.
CROWD = """
import os, sys, traceback
import mlflow
from t2i import tracking

config = tracking.Tracking(uri=sys.argv[1], artifacts=sys.argv[2])
children = []
for number in range(6):
    child = os.fork()
    if child == 0:
        try:
            tracker = tracking.start(config, f"worker {number}")
            tracker.metrics({"number": float(number)})
            tracker.close("FINISHED")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A fresh database, shared by the tests of this module: creating one takes a second."""
    root = tmp_path_factory.mktemp("tracking") / "new"
    return Tracking(uri=f"sqlite:///{root}/mlflow.db", artifacts=str(root / "artifacts"))


@pytest.fixture(scope="module")
def client(config: Tracking) -> Any:
    tracking.prepare(config)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=config.uri)


def test_parameters_metrics_tags_and_images_are_recorded(config: Tracking, client: Any, tmp_path: Path) -> None:
    picture = tmp_path / "grid.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(picture)
    tracker = tracking.start(config, "train abc123")
    tracker.params({"training.steps": 4, "dataset.domains": '["animal"]', "weights": None})
    for step, loss in ((1, 0.5), (2, 0.25)):
        tracker.metrics({"train/loss": loss}, step)
    tracker.metrics({"fid[tiny_clip]": 12.5, "fid[tiny_clip].low": 11.0})
    tracker.tags({"git.commit": "f00"})
    tracker.artifact(picture, "figures")
    tracker.close("FINISHED")

    run = client.get_run(tracker.run_id)
    assert run.info.run_name == "train abc123"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"training.steps": "4", "dataset.domains": '["animal"]', "weights": "None"}
    assert run.data.metrics == {"train/loss": 0.25, "fid.tiny_clip": 12.5, "fid.tiny_clip.low": 11.0}
    history = client.get_metric_history(tracker.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.25)]
    assert run.data.tags["git.commit"] == "f00"
    assert [file.path for file in client.list_artifacts(tracker.run_id, "figures")] == ["figures/grid.png"]
    assert len(list(Path(config.artifacts).rglob("grid.png"))) == 1


def test_what_is_not_finite_is_never_stored(config: Tracking, client: Any) -> None:
    """MLflow stores infinity as 1.8e308, and a chart of it is useless."""
    tracker = tracking.start(config, "numbers")
    tracker.metrics({"a": float("inf"), "b": float("-inf"), "c": float("nan"), "d": 1.0})
    tracker.metrics({"a": float("nan")})
    assert client.get_run(tracker.run_id).data.metrics == {"d": 1.0}


def test_pictures_inputs_and_weights_are_recorded(config: Tracking, client: Any, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "lora.safetensors").write_bytes(b"x" * 100)
    tracker = tracking.start(config, "train", tags={"mlflow.source.git.commit": "f00"})
    row = np.arange(4 * 8 * 3, dtype=np.uint8).reshape(4, 8, 3)
    for step in (0, 100):
        tracker.image(row, "validation, row [1]", step)
    tracker.inputs([Input("scenes prepared", "0" * 32, "/store/prepared/0", "training")])
    tracker.model("lora r4: 'a/b'", tmp_path / "weights", {"seed": 1})
    tracker.close("FINISHED")

    run = client.get_run(tracker.run_id)
    images = [file.path for file in client.list_artifacts(tracker.run_id, "images")]
    pngs = [path for path in images if path.endswith(".png")]
    assert sorted(int(re.split("[%+]", path)[2]) for path in pngs) == [0, 100]
    assert {re.split("[%+]", Path(path).name)[0] for path in images} == {"validation row 1"}
    with Image.open(client.download_artifacts(tracker.run_id, pngs[0])) as picture:
        assert np.array_equal(np.asarray(picture), row)
    (told,) = run.inputs.dataset_inputs
    assert (told.dataset.name, told.dataset.digest, told.tags[0].value) == ("scenes prepared", "0" * 32, "training")
    (out,) = run.outputs.model_outputs
    model = client.get_logged_model(out.model_id)
    assert (model.name, model.tags["path"], model.params) == (
        "lora r4- -a-b-",
        str(tmp_path / "weights"),
        {"seed": "1"},
    )
    assert model.source_run_id == tracker.run_id and str(model.status) == "READY"
    assert not list(Path(config.artifacts).rglob("lora.safetensors"))
    assert run.data.tags["mlflow.source.git.commit"] == "f00"


def test_the_experiment_opens_on_its_runs(config: Tracking, client: Any, tmp_path: Path) -> None:
    """Without its kind the page shows traces, of which there are none; a kind that somebody chose stays."""
    kinds = {
        "new": None,
        "old": {},
        "guessed": {KIND[0]: "genai_development_inferred"},
        "chosen": {KIND[0]: "regression"},
    }
    for name, tags in kinds.items():
        if tags is not None:
            client.create_experiment(name, tags=tags)
        tracking.prepare(Tracking(uri=config.uri, artifacts=str(tmp_path), experiment=name))
    found = {name: client.get_experiment_by_name(name).tags[KIND[0]] for name in kinds}
    assert found == dict.fromkeys(("new", "old", "guessed"), KIND[1]) | {"chosen": "regression"}


def test_a_model_is_told_once_though_the_server_goes_away_between(
    config: Tracking, client: Any, tmp_path: Path
) -> None:
    tracker = tracking.start(config, "train twice")
    assert isinstance(tracker, MLflowTracker)

    class Flaky(Unreachable):
        tried = False

        def __getattr__(self, name: str) -> Any:
            self.cut = name == "finalize_logged_model" and not self.tried
            self.tried = self.tried or self.cut
            return super().__getattr__(name)

    tracker._client = Flaky(tracker._client)
    tracker.model("weights", tmp_path, {})
    tracker.close("FINISHED")
    models = [m for m in client.search_logged_models([tracker._experiment]) if m.source_run_id == tracker.run_id]
    assert [str(model.status) for model in models] == ["READY"]


def test_more_values_than_one_request_takes(config: Tracking, client: Any) -> None:
    tracker = tracking.start(config, "many")
    tracker.params({f"key.{number}": number for number in range(250)} | {"long": "x" * 10_000})
    tracker.metrics({f"metric.{number}": float(number) for number in range(1001)})
    data = client.get_run(tracker.run_id).data
    assert (len(data.params), len(data.metrics)) == (251, 1001)
    assert data.params["long"] == "x" * 6000


def test_children_know_their_parent(config: Tracking, client: Any) -> None:
    parent = tracking.start(config, "multirun")
    run = tracking.start(config, "evaluate", parent.run_id)
    with run.child("cell scheduler=ddim") as cell:
        cell.metrics({"x": 1.0})
    assert client.get_run(run.run_id).data.tags["mlflow.parentRunId"] == parent.run_id
    assert client.get_run(cell.run_id).data.tags["mlflow.parentRunId"] == run.run_id
    assert client.get_run(cell.run_id).info.status == "FINISHED"


def test_a_child_that_raises_is_marked_as_failed(config: Tracking, client: Any) -> None:
    run = tracking.start(config, "sweep")
    with pytest.raises(RuntimeError), run.child("cell") as cell:
        raise RuntimeError
    assert client.get_run(cell.run_id).info.status == "FAILED"


def test_runs_of_one_experiment_are_together(config: Tracking, client: Any) -> None:
    runs = [client.get_run(tracking.start(config, name).run_id) for name in ("one", "two")]
    assert {client.get_experiment(run.info.experiment_id).name for run in runs} == {"t2i"}


def test_no_parent_is_no_parent(config: Tracking, client: Any) -> None:
    """A multirun that records nothing hands an empty parent on."""
    tracker = tracking.start(config, "alone", "")
    assert "mlflow.parentRunId" not in client.get_run(tracker.run_id).data.tags


def test_six_processes_start_on_a_fresh_database(tmp_path: Path) -> None:
    """Without a lock five of six crash while they create the same tables."""
    uri, artifacts = f"sqlite:///{tmp_path}/fresh/mlflow.db", str(tmp_path / "artifacts")
    surroundings = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", CROWD, uri, artifacts]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)
    assert done.returncode == 0, done.stderr
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("t2i")
    assert sorted(run.data.metrics["number"] for run in client.search_runs([experiment.experiment_id])) == [*range(6)]


class Unreachable:
    """A client between whose calls and the database the connection is cut while `cut` is true."""

    def __init__(self, client: Any) -> None:
        self.client, self.cut = client, False

    def __getattr__(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        def call(*arguments: Any, **options: Any) -> Any:
            if self.cut:
                raise MlflowException("API request failed: Connection refused")
            return getattr(self.client, name)(*arguments, **options)

        return call


def test_a_run_goes_on_while_the_tracker_is_unreachable_and_nothing_is_lost(
    config: Tracking, client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("t2i"), "propagate", True)
    tracker = tracking.start(config, "cut off")
    assert isinstance(tracker, MLflowTracker) and tracker.run_id
    tracker._client = unreachable = Unreachable(tracker._client)
    now = 100.0
    monkeypatch.setattr(tracking.time, "monotonic", lambda: now)
    for step in range(6):
        unreachable.cut = 2 <= step < 5
        now += 60 if step == 5 else 1
        tracker.metrics({"loss": float(step)}, step)
    assert [m.value for m in client.get_metric_history(tracker.run_id, "loss")] == [0, 1, 2, 3, 4, 5]
    said = {id(record) for record in caplog.records if "cannot be reached" in record.message}
    assert len(said) == 1  # the same record may have come to the handler twice
    unreachable.cut = True
    tracker.tags({"late": "yes"})
    unreachable.cut = False
    tracker.close("FINISHED")
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED" and run.data.tags["late"] == "yes"


def test_what_is_never_sent_is_said(
    config: Tracking, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("t2i"), "propagate", True)
    tracker = tracking.start(config, "gone")
    assert isinstance(tracker, MLflowTracker)
    tracker._client = unreachable = Unreachable(tracker._client)
    unreachable.cut = True
    tracker.metrics({"loss": 1.0}, 1)
    tracker.close("FINISHED")
    assert "2 records were not sent, the run folder holds them" in caplog.text


def test_a_record_that_mlflow_refuses_is_an_error(config: Tracking) -> None:
    from mlflow.exceptions import MlflowException

    tracker = tracking.start(config, "refused")
    tracker.params({"rate": 1})
    with pytest.raises(MlflowException, match="already logged"):
        tracker.params({"rate": 2})


def test_nothing_is_recorded_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # importing it would fail: it takes seconds
    config = Tracking(enabled=False, uri=f"sqlite:///{tmp_path}/mlflow.db")
    tracker = tracking.start(config, "nothing", "parent")
    assert isinstance(tracker, NullTracker)
    assert tracker.run_id is None
    tracker.params({"a": 1})
    tracker.metrics({"a": 1.0}, 3)
    tracker.tags({"a": "b"})
    tracker.artifact(tmp_path / "missing.png")
    tracker.image(np.zeros((4, 4, 3), np.uint8), "validation", 3)
    tracker.inputs([Input("scenes", "f00", "/data", "training")])
    tracker.model("lora", tmp_path, {"a": 1})
    with tracker.child("cell") as child:
        child.metrics({"a": 1.0})
    tracker.close("FINISHED")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("fid[tiny_clip]", "fid.tiny_clip"),
        ("clip_score[clip].low", "clip_score.clip.low"),
        ("sweep/best.kid[tiny_clip]", "sweep/best.kid.tiny_clip"),
        ("recall@5 (%)", "recall_at_5 "),
        ("base/held_out_loss@8.low", "base/held_out_loss_at_8.low"),
    ],
)
def test_metric_names_become_what_mlflow_allows(name: str, stored: str) -> None:
    assert metric_name(name) == stored


def test_the_link_leads_to_the_run_and_shows_no_password(config: Tracking) -> None:
    tracker = tracking.start(config, "linked")
    assert isinstance(tracker, MLflowTracker)
    place = f"#/experiments/{tracker._experiment}/runs/{tracker.run_id}?workflowType=machine_learning"
    assert tracker.link == f"mlflow ui --backend-store-uri '{config.uri}', then http://127.0.0.1:5000/{place}"
    tracker._uri = "https://me:secret@server:5000/"
    assert tracker.link == f"https://me:***@server:5000/{place}"
    assert tracking.hidden("postgresql+psycopg://t2i:pass:word@host/db") == "postgresql+psycopg://t2i:***@host/db"
    tracker.close("FINISHED")
    assert NullTracker().link is None


def test_a_run_ends_with_its_link_and_its_folder(main_job: Ended) -> None:
    last = main_job.out.splitlines()[-2:]
    assert last[0].startswith("MLflow: mlflow ui --backend-store-uri") and last[1].startswith("run folder: ")


ABANDONED = """
import os, signal, sys
from t2i import tracking

config = tracking.Tracking(uri=sys.argv[1], artifacts=sys.argv[2])
with tracking.start(config, "sweep").child("cell"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_later_start_closes_the_runs_of_processes_that_were_killed(tmp_path: Path) -> None:
    config = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=str(tmp_path / "artifacts"))
    mine = tracking.start(config, "still here")
    done = subprocess.run([sys.executable, "-c", ABANDONED, config.uri, config.artifacts], cwd=PROJECT, timeout=100)
    assert done.returncode == -9
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=config.uri)
    elsewhere = client.create_run("1", run_name="elsewhere", tags={"t2i.owner.host": "another", "t2i.owner.pid": "1"})

    def statuses() -> dict[str, str]:
        return {run.info.run_name: run.info.status for run in client.search_runs(["1"])}

    assert statuses() == dict.fromkeys(("still here", "sweep", "cell", "elsewhere"), "RUNNING")
    later = tracking.start(config, "later")
    assert statuses() == {
        "still here": "RUNNING", "sweep": "KILLED", "cell": "KILLED", "elsewhere": "RUNNING", "later": "RUNNING",
    }  # fmt: skip
    assert elsewhere.info.run_id != later.run_id
    for tracker in (mine, later):
        tracker.close("FINISHED")


def test_a_process_with_the_number_of_one_that_is_gone_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = owner.owner()
    assert owner.alive(tags)
    assert not owner.alive({**tags, "t2i.owner.started": str(float(tags["t2i.owner.started"]) - 3600)})
