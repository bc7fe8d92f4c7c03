"""Where the page is served, to whom, and how much of it: the `serve` key."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from t2i.errors import ConfigError

MOST_WAITING = 32
HOST = re.compile(r"[A-Za-z0-9_.:-]+")
"""No wildcard: any site whose name leads here could then ask from a visitor's browser."""


@dataclass
class Serve:
    """The server of task=serve."""

    host: str = "127.0.0.1"
    """Address to listen on; other machines can reach the page only with another one, which needs credentials too."""
    port: int = 7860
    """Port to listen on; 0 takes a free one and prints it."""
    credentials: Optional[str] = None
    """A file that only its owner can read, with one line `user:password`, asked for by the page and the endpoint. A file,
    so that the password is neither in a list of processes nor in the record of the run."""
    hosts: list[str] = field(default_factory=list)
    """Names by which the server is reached besides `host` and localhost, e.g. that of a proxy; others are refused."""
    queue: int = MOST_WAITING
    """Requests that may wait for the model; one more is answered with 503."""
    rate: int = 60
    """Requests for pictures that one address may make in a minute; one more is answered with 429."""
    keep: int = 500
    """Pictures kept in the run folder; older ones are deleted."""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def validate(self) -> None:
        """Raise ConfigError for values that no run could use, and for a host without credentials."""
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"serve.port={self.port} is not between 0 and 65535; use e.g. serve.port=7860")
        if not 1 <= self.queue <= MOST_WAITING:
            raise ConfigError(f"serve.queue={self.queue} is not between 1 and {MOST_WAITING}; use e.g. serve.queue=32")
        if self.rate < 1:
            raise ConfigError(f"serve.rate={self.rate} is not positive; use e.g. serve.rate=60")
        if self.keep < 1:
            raise ConfigError(f"serve.keep={self.keep} is not positive; use e.g. serve.keep=500")
        for name in self.hosts:
            if not HOST.fullmatch(name):
                raise ConfigError(f"serve.hosts={name} is no name of a host; use e.g. serve.hosts=[lab.example.org]")
        if not self.loopback and self.credentials is None:
            raise ConfigError(
                f"serve.host={self.host} lets other machines in, and no credentials are given; write user:password into a "
                "file and use serve.credentials=<file>"
            )

    def login(self) -> Optional[str]:
        """`user:password` from the credentials file, None where there is none; ConfigError where it holds anything else."""
        if self.credentials is None:
            return None
        path = Path(self.credentials).expanduser()
        if not path.is_file():
            raise ConfigError(f"serve.credentials={self.credentials} is not a file; write user:password into it")
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"serve.credentials={path} can be read by others; type: chmod 600 {path}")
        line = path.read_text(encoding="utf-8").strip()
        user, _, password = line.partition(":")
        if not user or len(password) < 8 or "\n" in line:
            raise ConfigError(
                f"serve.credentials={path} does not hold one line user:password with 8 characters or more in the password"
            )
        return line
