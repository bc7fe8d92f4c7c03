"""To which process a run belongs, as tags: whether that is still there tells a run that goes on from one that was killed."""

import os
import socket
from collections.abc import Mapping
from typing import Optional

OWNER = "t2i.owner."
"""Beginning of the tags that say which process a run belongs to."""
SAME_START = 60.0
"""Seconds by which two readings of when a process started may differ: the clock may have been set between them."""


def owner(process: Optional[int] = None) -> dict[str, str]:
    """A process (None: this one), as tags: its machine, its number there, and when it started (numbers come again)."""
    import psutil

    number = os.getpid() if process is None else process
    facts = {"host": socket.gethostname(), "pid": str(number), "started": str(psutil.Process(number).create_time())}
    return {f"{OWNER}{name}": value for name, value in facts.items()}


def alive(tags: Mapping[str, str]) -> bool:
    """Whether the process that a run of this machine belongs to is still there."""
    import psutil

    try:
        started = psutil.Process(int(tags[f"{OWNER}pid"])).create_time()
    except psutil.NoSuchProcess:
        return False
    return abs(started - float(tags[f"{OWNER}started"])) < SAME_START
