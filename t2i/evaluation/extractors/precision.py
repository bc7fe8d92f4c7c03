"""In which numbers extractors compute, and how many rows at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ROWS = 16
"""That a network reads at once in float32 on a CPU, always, on one thread. The libraries choose their kernels by the shape and
share a product out by the number of threads: with one shape and one thread the bits of a row do not depend on what stands beside
it, where it stands, or how many threads and processes there are. Threads have a batch each.
"""
MOST_THREADS = 16
"""That compute side by side: each needs the memory of a batch."""


def suffix(exact: bool) -> str:
    """What an address in the store says of it, behind the digest of the weights."""
    return "" if exact else f" float32 in {ROWS} a thread"


@dataclass(frozen=True)
class Precision:
    """float64 on a CPU where features shall be `exact`, otherwise float32 (on a GPU without TF32).

    Rounded to float32, features computed in float64 are also the same on another kind of processor; in float32 they differ there
    by about 1e-6 relative, and take a sixth of the time.
    """

    device: "torch.device"
    exact: bool

    @property
    def dtype(self) -> "torch.dtype":
        """Of weights and pictures."""
        import torch

        return torch.float64 if self.exact and self.device.type == "cpu" else torch.float32

    @property
    def in_rows(self) -> bool:
        """Whether a network reads `ROWS` rows at once, whatever it is given."""
        return self.device.type == "cpu" and not self.exact

    @property
    def at_once(self) -> int:
        """Rows that keep all threads busy; 1 where a network shares its own work out among them."""
        import torch

        return ROWS * min(torch.get_num_threads(), MOST_THREADS) if self.in_rows else 1

    @property
    def told(self) -> str:
        """What the definition of a number says of it."""
        name = str(self.dtype).removeprefix("torch.")
        return f"{name} on {self.device.type}" + (f", {ROWS} at once" if self.in_rows else "")

    def run(self, network: "Callable[..., torch.Tensor]", *given: "torch.Tensor") -> "torch.Tensor":
        """What a network makes of tensors (N, ...), N > 0: one with N rows. Where `in_rows`, the last ones are filled up with
        copies of a row, and threads read `ROWS` each.
        """
        import torch

        if not self.in_rows:
            return network(*given)

        @torch.inference_mode()
        def part(start: int) -> torch.Tensor:
            some = [tensor[start : start + ROWS] for tensor in given]
            count = len(some[0])
            filled = [torch.cat([rows, rows[:1].expand(ROWS - count, *rows.shape[1:])]) for rows in some]
            return network(*filled)[:count]

        starts = range(0, len(given[0]), ROWS)
        with _one_thread_each() as threads:
            workers = min(threads, MOST_THREADS, len(starts))
            if workers == 1:
                return torch.cat([part(start) for start in starts])
            with ThreadPoolExecutor(workers) as pool:
                return torch.cat(list(pool.map(part, starts)))


_counted = Lock()
"""The number of threads is one for the whole process: whoever reads it while another has set it would keep what he reads."""


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Within it an operation takes one thread; yields how many there are."""
    import torch

    with _counted:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield threads
        finally:
            torch.set_num_threads(threads)
