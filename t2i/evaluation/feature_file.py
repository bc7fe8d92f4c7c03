"""Features that many evaluations share (of a reference, of training pictures), as one `.npz` file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

ENDING = ".features"
"""An array `<network>.features` of a file of known features, float32 (M, D)."""


@dataclass(frozen=True)
class Known:
    """A file of features that lies below the store's root."""

    path: Path
    features: dict[str, np.ndarray]
    """float32 (M, D) by the name of the network."""

    @classmethod
    def read(cls, path: Path) -> "Known":
        """The features in the file at `path`."""
        with np.load(path, allow_pickle=False) as file:
            names = [name for name in file.files if name.endswith(ENDING)]
            return cls(path, {name.removesuffix(ENDING): file[name] for name in names})
