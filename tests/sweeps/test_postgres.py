"""Workers of several machines share a study on a PostgreSQL server, which can be MLflow's too."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2i.sweeps.space import cells, key_of

from ..conftest import Lab
from .postgres import server
from .test_driver import lines, many, slow_worker, studies


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server() as address:
        yield address


def test_three_workers_one_of_them_killed_measure_every_cell_once(url: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=slow_worker, args=(url, str(journal), 0.3)) for _ in range(3)]
    for worker in workers:  # all at once: the tables are created by whoever is first
        worker.start()
    end = time.monotonic() + 90
    while len(lines(journal)) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(workers[0].pid or 0, signal.SIGKILL)
    for worker in workers[1:]:
        worker.join(120)
        assert worker.exitcode == 0
    (study,) = studies(url.replace("postgresql://", "postgresql+psycopg://"))
    done = [key_of(trial.user_attrs["cell"]) for trial in study.trials if trial.state.name == "COMPLETE"]
    assert sorted(done) == sorted(map(key_of, cells(many().space)))
    assert len(lines(journal)) <= 12 + 1


def test_the_server_keeps_mlflow_s_runs_too(url: str, empty_lab: Lab) -> None:
    import psycopg
    from mlflow import MlflowClient

    with psycopg.connect(url, autocommit=True) as connection:  # Optuna and MLflow would overwrite each other's version
        connection.execute("CREATE DATABASE mlflow")
    uri = url.replace("postgresql://", "postgresql+psycopg://").removesuffix("/postgres") + "/mlflow"
    arguments = ["task=prepare", "dataset.train=4", "dataset.val=2", f"track.uri={uri}", "track.enabled=true"]
    ended = empty_lab.here(*arguments, f"track.artifacts={empty_lab.root}/artifacts")
    assert ended.status == 0, ended.err
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("t2i").experiment_id])
    assert run.info.status == "FINISHED" and run.data.metrics["train_images"] == ended.metrics["train_images"]


def test_one_database_for_both_is_refused(empty_lab: Lab) -> None:
    url = "postgresql://t2i@127.0.0.1:5/postgres"
    ended = empty_lab.here("task=prepare", "track.enabled=true", f"track.uri={url}", f"sweeps.storage={url}")
    assert ended.status == 2 and "one database" in ended.err
