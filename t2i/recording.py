"""Records beside the work: a process of its own imports MLflow, opens the database and writes, in the order in which it is told.

To import MLflow and to start its database takes seconds, which a thread would take from the work: both are Python, and that runs
in one thread at a time. A run is recorded from when its work begins (`begin`): a mistake that is found before leaves none. What
is told is kept in memory until it is written; `link` and `close` wait for that. Where the work is killed, the other process
writes what it was told and marks the run as killed. `t2i/recorder.py` is that process.
"""

import atexit
import base64
import contextlib
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Optional

from t2i.errors import ConfigError
from t2i.places import PROJECT
from t2i.tracker import Input, NullTracker, Tracker
from t2i.tracking import Tracking

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("t2i")
_numbers = itertools.count()
_recorders: list["Recorder"] = []
"""The process that writes for all runs of this one, once there is one."""


class NotRecorded(Exception):
    """What MLflow said about a record that it refused, or about a database that it could not open."""


class Recorder:
    """The other process: lines of JSON go to it and come from it."""

    def __init__(self) -> None:
        self.spool = Path(tempfile.mkdtemp(prefix="t2i_records_"))
        """Files as they were when they were recorded; the other process removes it."""
        paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "t2i.recorder", str(self.spool)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # what a terminal sends to everybody does not end it before it has written
        )
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._changed = threading.Condition()
        self._told: dict[int, dict[str, Any]] = {}
        self.ended = False
        for work in (self._write, self._read):
            threading.Thread(target=work, name="records", daemon=True).start()
        atexit.register(self.end)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Hand a message over, whole, whatever signal arrives meanwhile."""
        self._lines.put(json.dumps(message).encode() + b"\n")

    def end(self) -> None:
        """No more is told: it ends, and is waited for, so that a command that has ended leaves nobody behind."""
        self._lines.put(b"")
        self._process.wait()

    def told(self, number: int) -> dict[str, Any]:
        """What it has said of a run so far."""
        return self._told.get(number, {})

    def wait(self, number: int, key: str, value: Any = None) -> None:
        """Until it has said `key` of a run (and this value), or that the run failed, or has ended."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self.ended
                    or "failed" in self.told(number)
                    or (key in self.told(number) and value in (None, self.told(number)[key]))
                )
            )

    def failure(self, number: int) -> Optional[Exception]:
        """Why a run is not recorded as it was told, once."""
        told = self._told.get(number, {}).pop("failed", None)
        if told is None:
            lost = self.ended and "closed" not in self.told(number)
            return NotRecorded("the process that writes to MLflow has ended before the run") if lost else None
        errno, text, name = told["errno"], told["text"], told["file"]
        return OSError(errno, text, name) if errno is not None else NotRecorded(text)

    def _write(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended, which `_read` sees
            for line in iter(self._lines.get, b""):
                self._process.stdin.write(line)
                self._process.stdin.flush()
            self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "warning" in said:
                log.warning(said["warning"])
                continue
            with self._changed:
                self._told.setdefault(said.pop("run"), {}).update(said)
                self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()


class Recorded:
    """A run whose records another process writes. A record that MLflow refuses is an error at one of the next calls."""

    def __init__(self, opening: Mapping[str, Any], parent: "Optional[Recorded]" = None) -> None:
        self._number = next(_numbers)
        self._opening, self._parent = opening, parent
        self._held: list[dict[str, Any]] = []
        self._recorder: Optional[Recorder] = None
        self._settled = 0
        self._children: list[Recorded] = []

    # -- when it begins and what it waits for --------------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        """Whether there is a run."""
        return self._recorder is not None

    def begin(self) -> None:
        """The work has begun: from now on there is a run. What was told before is told now."""
        if self._recorder is not None:
            self._raise()
            return
        if self._parent is not None:
            self._parent.begin()
        self._recorder = _recorder()
        at = self._held[0]["at"] if self._held else time.time()
        parent = None if self._parent is None else self._parent._number
        self._recorder.tell({"run": self._number, "do": "start", "at": at, "with": [{**self._opening, "of": parent}]})
        for message in self._held:
            self._recorder.tell(message)
        self._held.clear()

    @property
    def run_id(self) -> Optional[str]:
        """MLflow's name for the run, waited for."""
        self.begin()
        return str(self._asked("run_id"))

    @property
    def link(self) -> Optional[str]:
        """As MLflowTracker's, when all that was told is written."""
        self._tell("settle", self._settled + 1)
        self._settled += 1
        return str(self._asked("link", settled=self._settled))

    def close(self, status: str) -> None:
        """Returns when all is written; a run whose work has not begun and did not end well leaves nothing."""
        if self._recorder is None and status != "FINISHED":
            return
        with contextlib.suppress(Exception):  # what MLflow refused before is told below
            self.begin()
        assert self._recorder is not None
        self._recorder.tell({"run": self._number, "do": "close", "at": time.time(), "with": [status]})
        with contextlib.suppress(NotRecorded, OSError):
            self._raise()
        self._recorder.wait(self._number, "closed")
        for each in (self, *self._children):
            each._raise()

    def _asked(self, key: str, settled: Optional[int] = None) -> Any:
        assert self._recorder is not None
        if settled is None:
            self._recorder.wait(self._number, key)
        else:
            self._recorder.wait(self._number, "settled", settled)
        self._raise()
        return self._recorder.told(self._number)[key]

    def _raise(self) -> None:
        assert self._recorder is not None
        if failure := self._recorder.failure(self._number):
            raise failure

    def _tell(self, what: str, *values: Any, early: bool = False) -> None:
        """early: told of a run that may never begin."""
        message = {"run": self._number, "do": what, "at": time.time(), "with": list(values)}
        if early and self._recorder is None:
            self._held.append(message)
            return
        self.begin()
        assert self._recorder is not None
        self._recorder.tell(message)

    # -- what a task may record ----------------------------------------------------------------------------------------

    def params(self, values: Mapping[str, Any]) -> None:
        self._tell("params", {key: str(value) for key, value in values.items()}, early=True)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        self._tell("metrics", {key: float(value) for key, value in values.items()}, step)

    def tags(self, values: Mapping[str, str]) -> None:
        self._tell("tags", dict(values), early=True)

    def artifact(self, path: Path, folder: str = "") -> None:
        self.begin()
        assert self._recorder is not None
        place = self._recorder.spool / f"{self._number}" / f"{next(_numbers)}"
        place.mkdir(parents=True)
        try:  # as it is now: a stage moves when it is finished
            os.link(path, place / path.name)
        except OSError:
            shutil.copy2(path, place / path.name)
        self._tell("artifact", str(place / path.name), folder)

    def image(self, picture: "np.ndarray", key: str, step: int = 0) -> None:
        pixels = base64.b64encode(picture.tobytes()).decode("ascii")
        self._tell("image", {"pixels": pixels, "shape": list(picture.shape)}, key, step)

    def inputs(self, data: Sequence[Input]) -> None:
        self._tell("inputs", [asdict(one) for one in data])

    def model(self, name: str, path: Path, facts: Mapping[str, Any]) -> None:
        self._tell("model", name, str(path), {key: str(value) for key, value in facts.items()})

    @contextlib.contextmanager
    def child(self, name: str) -> Iterator[Tracker]:
        child = Recorded({"name": name, "child": True}, self)
        self._children.append(child)  # what MLflow refuses of it is told at the end of this one
        child.begin()
        try:
            yield child
        except BaseException:
            child.close("FAILED")
            raise
        child._tell("close", "FINISHED")


def start(
    config: Tracking,
    name: str,
    parent: str | Tracker | None = None,
    tags: Mapping[str, str] | None = None,
) -> Tracker:
    """A tracker for one run that begins with its work; `parent` is the run that it belongs to, or MLflow's name for it.

    tags: what is known of it from the start, such as its source; its children have them too.
    """
    if not config.enabled:
        return NullTracker()
    above = parent if isinstance(parent, Recorded) else None
    named = parent if isinstance(parent, str) else None
    return Recorded({"config": asdict(config), "name": name, "parent": named, "tags": dict(tags or {})}, above)


def make_places(config: Tracking) -> None:
    """The folders of the database and of the files of runs; ConfigError where they cannot be made, before there is a run."""
    places = {"track.uri": config.uri.removeprefix("sqlite:///") if config.uri.startswith("sqlite:///") else ""}
    places |= {"track.artifacts": config.artifacts if "://" not in config.artifacts else ""}
    for key, value in places.items() if config.enabled else ():
        folder = Path(value).absolute().parent if key == "track.uri" else Path(value).absolute()
        try:
            if value:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{key}={getattr(config, key.removeprefix('track.'))}: {folder} cannot be made ({error.strerror}); give a place "
                "of yours, or track.enabled=false"
            ) from error


def _recorder() -> Recorder:
    if not _recorders or _recorders[0].ended:
        _recorders[:] = [Recorder()]
    return _recorders[0]
