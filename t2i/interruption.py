"""Signals that end a run: what they raise, and which of them is the same one again."""

import contextlib
import os
import signal
import sys
import time
from typing import Any

REPEAT = 1.0
"""Seconds in which a signal that comes again is the same one: `timeout` and service managers send it to a process and then
to its whole group."""


class Interrupted(BaseException):
    """SIGTERM or SIGINT arrived; what could be saved has been saved. The exit status is 128 + signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def leave_early() -> None:
    """Until a run has handlers of its own, SIGTERM and SIGINT end the program with 128 + signal and without a traceback.

    At once: an exception in the middle of an import meets code that makes another one of it.
    """

    def leave(number: int, frame: Any) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(RuntimeError, ValueError, OSError):  # it was being written to, or is closed
                stream.flush()
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)


class Arrivals:
    """When signals arrived. A handler may be interrupted by the next signal at any point: each notes its time first, and is then
    judged by what was noted before.
    """

    def __init__(self) -> None:
        self._times: list[list[float]] = []
        self.second = False
        """Whether a signal has come that is not the first one again."""

    def again(self) -> bool:
        """Note a signal; whether it is one that has been heard already."""
        mine = [time.monotonic()]
        self._times.append(mine)
        first = self._times[0]
        if first is mine:
            return False
        again = mine[0] - first[0] < REPEAT
        self.second = self.second or not again
        return again
