"""In which numbers extractors compute, and how many rows at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ROWS = 16
"""That a network reads at once in float32 on a CPU, always. The libraries choose their kernels by the shape: with one shape the
bits of a row do not depend on what stands beside it, where it stands, or how many threads and processes there are.
"""


def suffix(exact: bool) -> str:
    """What an address in the store says of it, behind the digest of the weights."""
    return "" if exact else f" float32 in {ROWS}"


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
    def told(self) -> str:
        """What the definition of a number says of it."""
        name = str(self.dtype).removeprefix("torch.")
        return f"{name} on {self.device.type}" + (f", {ROWS} at once" if self.in_rows else "")

    def run(self, network: "Callable[..., torch.Tensor]", *given: "torch.Tensor") -> "torch.Tensor":
        """What a network makes of tensors (N, ...): one with N rows. Where `in_rows`, the last ones are filled up with copies of
        a row.
        """
        import torch

        if not self.in_rows:
            return network(*given)
        parts = []
        for start in range(0, len(given[0]), ROWS):
            some = [tensor[start : start + ROWS] for tensor in given]
            count = len(some[0])
            filled = [torch.cat([part, part[:1].expand(ROWS - count, *part.shape[1:])]) for part in some]
            parts.append(network(*filled)[:count])
        return torch.cat(parts)
