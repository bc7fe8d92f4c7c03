"""Where runs are recorded: MLflow behind the protocol of `t2i.tracker`.

This is the only module that imports mlflow, in a process beside the work (`t2i/recorder.py`). A database is created and migrated
under a lock: several processes that meet an empty SQLite file at once crash each other.
"""

import contextlib
import json
import logging
import math
import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from filelock import FileLock

from t2i.owner import OWNER, alive, owner
from t2i.tracker import Input, NullTracker, Tracker

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Input", "MLflowTracker", "NullTracker", "Tracker", "Tracking"]
log = logging.getLogger("t2i")


@dataclass
class Tracking:
    """Where runs are recorded."""

    enabled: bool = True
    """false: record nothing (the run folder still holds everything)."""
    uri: str = "${mlruns_uri:}"
    """MLflow tracking URI: sqlite:///<file>, postgresql://..., or http(s)://<server>."""
    artifacts: str = "${project:mlruns/artifacts}"
    """Folder or URI for images and files of runs recorded in a database (a server chooses its own)."""
    experiment: str = "t2i"
    """Name of the MLflow experiment."""


def metric_name(name: str) -> str:
    """`fid[tiny_clip].low` as MLflow allows it: `fid.tiny_clip.low`; of settings, which may be named after metrics, too."""
    return re.sub(r"[^\w.\-/ ]", "", name.replace("@", "_at_").replace("[", ".").replace("]", ""))


RETRY_SECONDS = 30.0
"""Between two attempts to reach a tracking server that did not answer."""
TEMPORARY = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
"""MLflow's codes for what may work later; a server that cannot be reached is INTERNAL_ERROR."""


class MLflowTracker:
    """One MLflow run, written through the client so that no global state is shared between runs.

    While the server cannot be reached, records wait in order and the run goes on. Sending one twice is harmless: a
    metric keeps its time, and MLflow stores equal rows once.
    """

    def __init__(self, client: Any, run: Any, uri: str = "", tags: Mapping[str, str] | None = None) -> None:
        self._client, self._uri, self._tags = client, uri, dict(tags or {})
        self._experiment = run.info.experiment_id
        self.run_id: Optional[str] = run.info.run_id
        self.at: Optional[float] = None
        """The time of what is recorded next, in seconds since 1970; None: now."""
        self._waiting: deque[Callable[[], object]] = deque()
        self._next_attempt = 0.0

    @property
    def link(self) -> Optional[str]:
        """A server's page of this run, or how to serve the database; without a password."""
        place = f"#/experiments/{self._experiment}/runs/{self.run_id}?{WORKFLOW}"
        if self._uri.startswith(("http://", "https://")):
            return f"{hidden(self._uri).rstrip('/')}/{place}"
        return f"mlflow ui --backend-store-uri '{hidden(self._uri)}', then http://127.0.0.1:5000/{place}"

    def _milliseconds(self) -> int:
        return int((time.time() if self.at is None else self.at) * 1000)

    def _do(self, record: Callable[[], object]) -> None:
        self._waiting.append(record)
        if time.monotonic() >= self._next_attempt:
            self._send()

    def _send(self) -> None:
        from mlflow.exceptions import MlflowException

        while self._waiting:
            try:
                self._waiting[0]()
            except (MlflowException, OSError) as error:
                temporary = not isinstance(error, MlflowException) or error.error_code in TEMPORARY
                if not temporary or isinstance(error, FileNotFoundError):
                    self._waiting.popleft()  # it would be refused again, and nothing after it be written
                    raise
                if self._next_attempt == 0.0:
                    reason = str(error).splitlines()[0][:200]
                    log.warning("the tracker cannot be reached (%s); the run goes on, records are sent later", reason)
                self._next_attempt = time.monotonic() + RETRY_SECONDS
                return
            self._waiting.popleft()
        self._next_attempt = 0.0

    begun = True
    """With being made."""

    def begin(self) -> None:
        pass

    def params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(metric_name(key), str(value)[:6000]) for key, value in values.items()]
        for start in range(0, len(params), 100):
            self._do(partial(self._client.log_batch, self.run_id, params=params[start : start + 100]))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = self._milliseconds()
        finite = {
            key: float(value) for key, value in values.items() if math.isfinite(value)
        }  # inf would be stored as 1.8e308
        batch = [Metric(metric_name(key), value, now, step) for key, value in finite.items()]
        for start in range(0, len(batch), 1000):
            self._do(partial(self._client.log_batch, self.run_id, metrics=batch[start : start + 1000]))

    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in values.items()]
        for start in range(0, len(tags), 100):
            self._do(partial(self._client.log_batch, self.run_id, tags=tags[start : start + 100]))

    def artifact(self, path: Path, folder: str = "") -> None:
        self._do(partial(self._client.log_artifact, self.run_id, str(path), folder or None))

    def image(self, picture: "np.ndarray", key: str, step: int = 0) -> None:
        now = self._milliseconds()
        name = re.sub(r"[^\w\-./ ]", "", key, flags=re.ASCII)
        self._do(partial(self._client.log_image, self.run_id, picture, key=name, step=step, timestamp=now))

    def inputs(self, data: Sequence[Input]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        told = [
            DatasetInput(
                Dataset(one.name[:500], one.digest[:36], "local", json.dumps({"uri": one.source})),
                [InputTag("mlflow.data.context", one.context)],
            )
            for one in data
        ]
        if told:
            self._do(partial(self._client.log_inputs, self.run_id, told))

    def model(self, name: str, path: Path, facts: Mapping[str, Any]) -> None:
        from mlflow.entities import LoggedModelOutput

        made: list[Any] = []  # so that a second attempt makes no second model

        def send() -> None:
            if not made:
                params = {key: str(value)[:6000] for key, value in facts.items()}
                plain = re.sub(r"[/:.%\"']", "-", name)[:200]
                tags = {"path": str(path)}
                made.append(
                    self._client.create_logged_model(self._experiment, plain, self.run_id, tags, params, "diffusion")
                )
            self._client.finalize_logged_model(made[0].model_id, "READY")
            self._client.log_outputs(self.run_id, [LoggedModelOutput(made[0].model_id, 0)])

        self._do(send)

    def below(self, name: str, at: Optional[float] = None) -> "MLflowTracker":
        """A run that belongs to this one and began at that time (None: now)."""
        run = _create(self._client, self._experiment, name, self.run_id, self._tags, at)
        return MLflowTracker(self._client, run, self._uri, self._tags)

    @contextlib.contextmanager
    def child(self, name: str) -> Iterator["Tracker"]:
        child = self.below(name)
        try:
            yield child
        except BaseException:
            child.close("FAILED")
            raise
        child.close("FINISHED")

    def close(self, status: str) -> None:
        self._waiting.append(partial(self._client.set_terminated, self.run_id, status, self._milliseconds()))
        self._send()
        if self._waiting:
            log.warning(
                "the tracker did not come back: %d records were not sent, the run folder holds them", len(self._waiting)
            )


def hidden(uri: str) -> str:
    """A URI whose password, if it has one, is replaced by ***."""
    return re.sub(r"(//[^/:@]*:)[^/@]*@", r"\1***@", uri)


def _close_abandoned(client: Any, experiment: str) -> None:
    """Runs of this machine whose process was killed say so: it could not."""
    mine = f"attributes.status = 'RUNNING' and tags.`{OWNER}host` = '{socket.gethostname()}'"
    for run in client.search_runs([experiment], mine):
        if not alive(run.data.tags):
            client.set_terminated(run.info.run_id, "KILLED")


def _create(
    client: Any, experiment: str, name: str, parent: Optional[str], more: Mapping[str, str], at: Optional[float]
) -> Any:
    tags = {"mlflow.runName": name, **owner(), **more}
    if parent:
        tags["mlflow.parentRunId"] = parent
    return client.create_run(experiment, None if at is None else int(at * 1000), tags, name)


KIND = "mlflow.experimentKind", "custom_model_development"
"""The tag by which MLflow's page opens on runs; without it, it guesses, and shows an empty page of traces."""
WORKFLOW = "workflowType=machine_learning"
"""What says so in an address: the page of MLflow 3.17 begins with traces for whoever has not chosen, whatever the tag says."""


def _client(config: Tracking) -> tuple[Any, str]:
    """A client and the id of the experiment, with the database created and migrated if need be."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # records wait here, not the training there
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow", "mlflow.store.db.utils"):  # mlflow sets its own levels when it is imported
        logging.getLogger(name).setLevel(logging.WARNING)

    client = MlflowClient(tracking_uri=config.uri)
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is not None:
        if KIND[0] not in experiment.tags or "inferred" in experiment.tags[KIND[0]]:
            client.set_experiment_tag(experiment.experiment_id, *KIND)
        return client, experiment.experiment_id
    local = config.uri.split(":", 1)[0] not in ("http", "https")
    return client, client.create_experiment(
        config.experiment, artifact_location=config.artifacts if local else None, tags=dict([KIND])
    )


def prepare(config: Tracking) -> Optional[tuple[Any, str]]:
    """Create and migrate the database once, before anybody else opens it; the client and the experiment's id."""
    if not config.enabled:
        return None
    if not config.uri.startswith("sqlite:///"):
        return _client(config)
    database = Path(config.uri.removeprefix("sqlite:///")).absolute()
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(f".{database.name}.lock")):
        return _client(config)


def start(
    config: Tracking,
    name: str,
    parent: Optional[str] = None,
    tags: Mapping[str, str] | None = None,
    at: Optional[float] = None,
) -> Tracker:
    """A tracker for one run that writes in this process; `parent` is the MLflow run that it belongs to (a multirun or a sweep).

    tags: what is known of it from the start, such as its source or the `owner` when that is another process; its children have
    them too. at: when it began, in seconds since 1970; None: now.
    """
    ready = prepare(config)
    if ready is None:
        return NullTracker()
    client, experiment = ready
    _close_abandoned(client, experiment)
    tags = tags or {}
    return MLflowTracker(client, _create(client, experiment, name, parent or None, tags, at), config.uri, tags)
