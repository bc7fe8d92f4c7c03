"""What a check of this machine finds."""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How a check ended."""

    ok = "ok"
    warn = "warn"
    fail = "fail"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, and - unless it is well - what to do."""

    name: str
    state: State
    found: str
    remedy: str = ""
