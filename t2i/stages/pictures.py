"""Pictures as networks read them: of a generated set, or of a split."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.pictures import Pictures
    from t2i.data.prepared import Split


def read_pictures(folder: Path, count: int, first: int = 0) -> "np.ndarray":
    """`count` pictures of a generated set from the `first` on, uint8 (count, H, W, 3)."""
    import numpy as np
    from PIL import Image

    pictures = []
    for i in range(first, first + count):
        with Image.open(folder / f"{i:06d}.png") as image:
            pictures.append(np.asarray(image.convert("RGB")))
    return np.stack(pictures)


def pictures_of(split: "Split", side: int) -> "Pictures":
    """A split as side x side pixels, read when it is asked for."""
    from t2i.data.pictures import Pictures

    return Pictures((len(split), side, side, 3), lambda rows: split.squares(rows, side))


def generated_pictures(folder: Path, count: int, side: Optional[int] = None) -> "Pictures":
    """The first `count` pictures of a generated set, read when they are asked for and brought to `side`."""
    import numpy as np

    from t2i.data.pictures import Pictures
    from t2i.models.preprocess import pillow_bicubic

    def read(rows: "Sequence[int]") -> "np.ndarray":
        found = np.concatenate([read_pictures(folder, 1, row) for row in rows])
        return found if side is None else pillow_bicubic(found, side)

    height, width = read_pictures(folder, 1).shape[1:3]
    return Pictures((count, side or height, side or width, 3), read)
