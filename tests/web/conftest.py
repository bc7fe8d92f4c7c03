"""A server with a tuned model in a process of its own, and the browser that drives its page."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ..conftest import PROJECT, Lab

if TYPE_CHECKING:
    pass

STARTED = re.compile(r"serving on (http://\S+) ")


@dataclass(frozen=True)
class Server:
    """A running `task=serve`."""

    process: "subprocess.Popen[str]"
    url: str
    outputs: Path

    @property
    def folder(self) -> Path:
        """The run folder."""
        (folder,) = self.outputs.glob("20*/*")
        return folder

    @property
    def host(self) -> tuple[str, int]:
        """Address and port."""
        name, _, port = self.url.removeprefix("http://").partition(":")
        return name, int(port)

    def ask(self, **order: Any) -> httpx.Response:
        """`POST /v1/images` with one step where nothing else is said."""
        return httpx.post(f"{self.url}/v1/images", json={"prompt": "a red cat", "steps": 1, **order}, timeout=120)

    def health(self) -> dict[str, Any]:
        """`GET /v1/health`."""
        answer: dict[str, Any] = httpx.get(f"{self.url}/v1/health", timeout=30).json()
        return answer

    @property
    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024


@contextmanager
def serving(outputs: Path, *arguments: str) -> Iterator[Server]:
    """`python run.py task=serve <arguments>` on a free port, until the end of the block."""
    command = [sys.executable, str(PROJECT / "run.py"), "task=serve", "serve.port=0", *Lab(outputs).places(False)]
    process = subprocess.Popen(
        [*command, *arguments], cwd=outputs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if found := STARTED.search(line):
                break
        else:
            pytest.fail("the server ended: " + "".join(said))
        # Nobody may leave the pipe full.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield Server(process, found[1], outputs)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, tuned_run: Path) -> Iterator[Server]:
    """The base and the tuned tiny model; no limit on requests a minute, since all tests have one address."""
    outputs = tmp_path_factory.mktemp("serve")
    with serving(outputs, f"weights={tuned_run}", "serve.rate=1000000", "scheduler.steps=4") as running:
        yield running
