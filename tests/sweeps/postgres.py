"""A throw-away PostgreSQL server on a loopback port, as an unprivileged user."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def program(name: str) -> str:
    """A program of PostgreSQL; without one the test is skipped, but never in CI."""
    places = [shutil.which(name), *map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))]
    found = next((place for place in places if place), None)
    if found is None:
        message = f"{name} is not installed: apt-get install postgresql"
        if os.environ.get("T2I_CI"):
            pytest.fail(message)
        pytest.skip(message)
    return str(Path(found).resolve())


@contextmanager
def server() -> Iterator[str]:
    """Its URL, while it runs."""
    initdb, postgres = program("initdb"), program("postgres")
    root = Path(tempfile.mkdtemp(prefix="t2i-postgres-"))
    as_user = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(root, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = root / "data"
    surroundings = {**os.environ, "LC_ALL": "C"}
    subprocess.run(
        [*as_user, initdb, "-D", str(data), "-E", "UTF8", "-A", "trust", "-U", "t2i", "--no-sync"],
        check=True, capture_output=True, env=surroundings, cwd=root,
    )  # fmt: skip
    process = subprocess.Popen(
        [*as_user, postgres, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(root), "-F"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=surroundings, cwd=root,
    )  # fmt: skip
    try:
        url = f"postgresql://t2i@127.0.0.1:{port}/postgres"
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(root, ignore_errors=True)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    import time

    import psycopg

    end = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the server ended"
        try:
            psycopg.connect(url, connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.2)
