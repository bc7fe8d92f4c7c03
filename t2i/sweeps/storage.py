"""The database of studies, opened by however many at the same time."""

import time
import warnings
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage
from sqlalchemy.exc import DBAPIError

from t2i.errors import ConfigError

GRACE = 3
"""Heartbeats that may be missed."""
# Heartbeats have been "experimental" since 2021; a user can do nothing about it.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def open_storage(url: str, heartbeat: int) -> RDBStorage:
    """The database, created once however many open it at the same time. Raises ConfigError when it cannot be reached."""
    options: dict[str, Any] = {"heartbeat_interval": heartbeat, "grace_period": GRACE * heartbeat}
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///")).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}}, **options)
    for attempt in range(3):
        try:
            return RDBStorage(_driver(url), engine_kwargs={"pool_pre_ping": True}, **options)
        except (DBAPIError, ImportError) as error:  # two that create the tables at once: the second finds them
            if attempt == 2 or isinstance(error, ImportError):
                reason = str(error).splitlines()[0]
                raise ConfigError(
                    f"sweeps.storage={_anonymous(url)} cannot be opened ({reason}); check server and URL"
                ) from error
            time.sleep(1)
    raise AssertionError


def _driver(url: str) -> str:
    """SQLAlchemy means psycopg 2 by plain postgresql://; psycopg 3 is what the extra `postgres` installs."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1).replace("postgres://", "postgresql+psycopg://", 1)


def _anonymous(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.split('//')[0]}//...@{tail}" if at else url
