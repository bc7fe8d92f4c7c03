"""The process that writes records to MLflow for another one: `python -m t2i.recorder <folder of files>`.

It reads lines of JSON from standard input - which run, what to do, when that was, with what - and does them one after another. It
ends with its input: what is written down then is all that the other process told, also when that was killed.
"""

import base64
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from t2i import tracking
from t2i.owner import owner as owner_of
from t2i.tracker import Input, NullTracker, Tracker

Line = dict[str, Any]


class Warnings(logging.Handler):
    """Warnings of this process are said by the other one."""

    def __init__(self, say: Callable[[Line], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """One line, as the other process would log it."""
        self._say({"warning": record.getMessage()})


class Writer:
    """The runs that are being written, by the number that the other process gave them."""

    def __init__(self, say: Callable[[Line], None], spool: Path, owner: dict[str, str]) -> None:
        """owner: of the process that works, as tags."""
        self._say, self._spool, self._owner = say, spool, owner
        self._runs: dict[int, tracking.MLflowTracker] = {}

    def do(self, line: Line) -> None:
        """Do what a line says; what goes wrong is said of its run."""
        number = line["run"]
        try:
            getattr(self, f"_{line['do']}")(number, line["at"], *line["with"])
        except Exception as error:
            file = getattr(error, "filename", None)
            self._say(
                {
                    "run": number,
                    "failed": {
                        "errno": getattr(error, "errno", None),
                        "file": file if isinstance(file, str) else None,
                        "text": getattr(error, "strerror", None) or str(error) or type(error).__name__,
                    },
                }
            )

    def end(self) -> None:
        """The other process is gone: runs that it has not closed were killed with it."""
        for tracker in reversed(self._runs.values()):
            with contextlib.suppress(Exception):  # nobody is there to hear of it
                tracker.close("KILLED")
        shutil.rmtree(self._spool, ignore_errors=True)

    def _start(self, number: int, at: float, opening: dict[str, Any]) -> None:
        above = self._runs.get(opening["of"]) if opening["of"] is not None else None
        if opening.get("child"):
            if above is None:  # it could not be opened, which was said
                return
            tracker = above.below(opening["name"], at)
        else:
            parent = above.run_id if above is not None else opening["parent"]
            config = tracking.Tracking(**opening["config"])
            made: Tracker = tracking.start(config, opening["name"], parent, {**opening["tags"], **self._owner}, at)
            assert isinstance(made, tracking.MLflowTracker)
            tracker = made
        self._runs[number] = tracker
        self._say({"run": number, "run_id": tracker.run_id, "link": tracker.link})

    def _settle(self, number: int, at: float, settled: int) -> None:
        self._say({"run": number, "settled": settled})

    def _close(self, number: int, at: float, status: str) -> None:
        try:
            if number in self._runs:
                tracker = self._runs.pop(number)
                tracker.at = at
                tracker.close(status)
        finally:
            shutil.rmtree(self._spool / str(number), ignore_errors=True)
            self._say({"run": number, "closed": True})

    def _params(self, number: int, at: float, values: dict[str, str]) -> None:
        self._run(number, at).params(values)

    def _metrics(self, number: int, at: float, values: dict[str, float], step: int) -> None:
        self._run(number, at).metrics(values, step)

    def _tags(self, number: int, at: float, values: dict[str, str]) -> None:
        self._run(number, at).tags(values)

    def _artifact(self, number: int, at: float, path: str, folder: str) -> None:
        self._run(number, at).artifact(Path(path), folder)

    def _image(self, number: int, at: float, picture: dict[str, Any], key: str, step: int) -> None:
        import numpy as np

        pixels = np.frombuffer(base64.b64decode(picture["pixels"]), np.uint8).reshape(picture["shape"])
        self._run(number, at).image(pixels, key, step)

    def _inputs(self, number: int, at: float, data: list[dict[str, str]]) -> None:
        self._run(number, at).inputs([Input(**one) for one in data])

    def _model(self, number: int, at: float, name: str, path: str, facts: dict[str, str]) -> None:
        self._run(number, at).model(name, Path(path), facts)

    def _run(self, number: int, at: float) -> Tracker:
        """The run, at the time when it was told; nothing is recorded of one that could not be opened, which was said."""
        tracker = self._runs.get(number)
        if tracker is None:
            return NullTracker()
        tracker.at = at
        return tracker


def main() -> None:
    """Until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the process that works decides when it ends
        signal.signal(number, signal.SIG_IGN)
    owner = owner_of(os.getppid())
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no answer

    def say(line: Line) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more
            answers.write(json.dumps(line).encode() + b"\n")

    logger = logging.getLogger("t2i")
    logger.addHandler(Warnings(say))
    logger.propagate = False
    lines: SimpleQueue[bytes] = SimpleQueue()

    def read() -> None:
        """All at once, so that the other process never waits."""
        for line in iter(sys.stdin.buffer.readline, b""):
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, name="lines", daemon=True).start()
    writer = Writer(say, Path(sys.argv[1]), owner)
    for line in iter(lines.get, b""):
        writer.do(json.loads(line))
    writer.end()
    os._exit(0)  # to take an interpreter with MLflow apart takes longer than all that


if __name__ == "__main__":
    main()
