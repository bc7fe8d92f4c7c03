"""How much memory is in use, and what to do when it does not suffice: the same in smaller portions."""

import resource
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


class Portion:
    """How many samples at a time: half as many from the moment on when they did not fit."""

    def __init__(self, size: int, smaller: Callable[[int], object] = lambda size: None, halves: bool = True) -> None:
        """`smaller` is told every new size, before the work is repeated with it. Without `halves` the size stays what it is:
        other processes take part in the work, and would not repeat it.
        """
        self.size, self._halves = size, halves
        self._smaller = smaller

    def run(self, work: Callable[[int], T]) -> T:
        """What `work(size)` returns; raises torch.OutOfMemoryError when a single sample does not fit, or when
        the size may not change.

        `work` is repeated from its beginning, so it may not have changed anything when it fails.
        """
        while True:
            try:
                return work(self.size)
            except torch.OutOfMemoryError:
                if self.size <= 1 or not self._halves:
                    raise
            # Outside of the handler, whose error still holds what did not fit.
            self.size //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._smaller(self.size)


def memory_mb(device: torch.device) -> float:
    """Peak memory so far in MiB: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
