"""A picture and a mask that somebody gives, brought to the size that is drawn. Light: neither torch nor diffusers."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.errors import ConfigError, UserError

if TYPE_CHECKING:
    import numpy as np

STRENGTH = 0.75
"""Where none is given."""
WHITE = 128
"""Grey level from which on a mask means that it is drawn anew."""


@dataclass(frozen=True)
class Beginning:
    """A picture, and how much of it is drawn anew."""

    pixels: "np.ndarray"
    """uint8 (H, W, 3), of the size that is drawn."""
    strength: float = STRENGTH
    """Share of the steps that are taken, in (0, 1]: the picture gets as much noise as is left before them."""
    mask: "Optional[np.ndarray]" = None
    """bool (H, W): where it is drawn anew; elsewhere its latents are put back after every step. None: everywhere."""

    def skipped(self, steps: int) -> int:
        """Steps that are not taken. Raises ConfigError when none would be left."""
        taken = min(int(steps * self.strength), steps)
        if taken < 1:
            least = math.ceil(1 / self.strength)
            least += int(least * self.strength) < 1  # by rounding
            raise ConfigError(
                f"strength={self.strength:g} of {steps} steps leaves none; use {least} steps or more, or more strength"
            )
        return steps - taken

    @property
    def digests(self) -> dict[str, str]:
        """Of the pixels of `image` and `mask` as they are used, whatever files they came from."""
        from t2i.sampling.recipe import digest

        return {"image": digest(self.pixels)} | ({} if self.mask is None else {"mask": digest(self.mask)})


def read(image: Path, mask: Optional[Path], strength: float, size: tuple[int, int]) -> Beginning:
    """Both files by one rule, that of prepared pictures: turned as EXIF says, in sRGB, the largest middle part of the shape of
    `size` (width, height), resized to it with a Lanczos filter. Of a mask what is white (grey from `WHITE` on) is drawn anew.

    Raises UserError for a file that cannot be used, and a mask without anything to draw.
    """
    import numpy as np

    pixels = _fitted("image", image, size)
    if mask is None:
        return Beginning(pixels, strength)
    chosen: np.ndarray = _fitted("mask", mask, size, grey=True) >= WHITE
    if not chosen.any():
        raise UserError(
            f"mask={mask} is black where the picture is, and white is what is drawn anew; paint something white"
        )
    return Beginning(pixels, strength, chosen)


def _fitted(key: str, path: Path, size: tuple[int, int], grey: bool = False) -> "np.ndarray":
    import numpy as np

    from t2i.data.preparation.colours import Unusable
    from t2i.data.preparation.decode import fitted

    try:
        picture = fitted(path, size)
    except Unusable as fault:
        raise UserError(f"{key}={path} cannot be used ({fault}); give a picture, e.g. a PNG or a JPEG") from fault
    return np.asarray(picture.convert("L") if grey else picture)


def told(beginning: Beginning, image: Path, mask: Optional[Path]) -> dict[str, Any]:
    """What a recipe says of it: `strength`, and path and digest of `image` and `mask`."""
    paths = {"image": image, "mask": mask}
    files = {name: {"path": str(paths[name]), "digest": digest} for name, digest in beginning.digests.items()}
    return {**files, "strength": beginning.strength}
