"""Pictures that are read when they are asked for: a set that memory could not hold looks like an array."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pictures:
    """uint8 (N, H, W, 3), of which a slice or some rows at a time are in memory."""

    shape: tuple[int, int, int, int]
    read: Callable[[Sequence[int]], np.ndarray]
    """Rows to uint8 (len(rows), H, W, 3)."""
    ndim: int = 4

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: "slice | np.ndarray") -> np.ndarray:
        """As of an array, along the first axis."""
        return self.read(np.arange(len(self))[rows].tolist())
