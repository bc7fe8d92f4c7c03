"""Pictures that are read when they are asked for: a set that memory could not hold looks like an array."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pictures:
    """uint8 (N, H, W, 3), of which a slice or some rows at a time are in memory."""

    shape: tuple[int, int, int, int]
    """Of pictures of several sizes, H and W are those of the first."""
    read: Callable[[Sequence[int]], np.ndarray]
    """Rows to uint8 (len(rows), H, W, 3); of pictures of several sizes, rows of one size only."""
    ndim: int = 4
    sizes: np.ndarray | None = None
    """int (N, 2), height and width of each; None where all are of one size."""

    @classmethod
    def of_sizes(
        cls, sizes: Sequence[tuple[int, int]], read: Callable[[Sequence[int]], Sequence[np.ndarray]]
    ) -> "Pictures":
        """Of pictures with these heights and widths, `read` giving each as uint8 (H, W, 3)."""
        known = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        (height, width) = known[0].tolist()
        mixed = bool((known != known[0]).any())
        return cls((len(known), height, width, 3), lambda rows: np.stack(read(rows)), sizes=known if mixed else None)

    def groups(self) -> "list[tuple[np.ndarray, Pictures]]":
        """The pictures of each size: their rows, int (n,), and themselves. One group where all are of one size."""
        if self.sizes is None:
            return [(np.arange(len(self)), self)]
        distinct, place = np.unique(self.sizes, axis=0, return_inverse=True)
        found = []
        for number, (height, width) in enumerate(distinct.tolist()):
            rows = np.flatnonzero(place.ravel() == number)

            def read(some: Sequence[int], rows: np.ndarray = rows) -> np.ndarray:
                return self.read(rows[list(some)].tolist())

            found.append((rows, Pictures((len(rows), height, width, 3), read)))
        return found

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: "slice | np.ndarray") -> np.ndarray:
        """As of an array, along the first axis."""
        return self.read(np.arange(len(self))[rows].tolist())
