"""Which workers of a study are alive: those that its database hears from, and of this machine those whose process is there."""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import optuna
import psutil
from optuna.storages import RDBStorage
from sqlalchemy.exc import DBAPIError


@contextlib.contextmanager
def beating(storage: RDBStorage, trial: optuna.Trial, every: int) -> Iterator[None]:
    """Inside, the database hears from this worker every so many seconds."""
    stop = threading.Event()

    def beat() -> None:
        while True:
            # A heartbeat that the database refuses is missed, not fatal: the next one may pass.
            with contextlib.suppress(DBAPIError):
                storage.record_heartbeat(trial._trial_id)
            if stop.wait(every):
                return

    thread = threading.Thread(target=beat, daemon=True, name="heartbeat")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def me() -> str:
    """What this process is known by."""
    return json.dumps([socket.gethostname(), os.getpid(), psutil.Process().create_time()])


def is_gone(worker: Any) -> bool:
    """Whether a worker of this machine has ended; of another machine, nobody here knows."""
    if not isinstance(worker, str):
        return False
    host, number, created = json.loads(worker)
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(number)
        # the clock that start times are told by may be set by a second meanwhile
        return abs(process.create_time() - created) > 5 or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
