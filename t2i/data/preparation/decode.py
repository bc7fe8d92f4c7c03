"""One image file of unknown origin to one RGB picture, or a reason why not.

Rules: the header is checked before any pixel is decoded; of an animation the first frame counts; EXIF orientation is
applied; the part that the crop keeps becomes sRGB (`colours.py`: modes, profiles, transparency) and is resized with
a Lanczos filter.
"""

import contextlib
import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from t2i.data.crop import Crop, frame, part
from t2i.data.files.kinds import formats
from t2i.data.preparation.colours import AUTO, Unusable, rgb
from t2i.data.preparation.duplicates import perceptual_hash

MAX_PIXELS = 64_000_000
"""Width x height above this is taken for a decompression bomb."""
MIN_SIDE = 16
"""Images whose shorter side has fewer pixels show nothing that a caption could be about."""


@dataclass(frozen=True)
class Picture:
    """A prepared picture, and what was seen while it was made."""

    png: bytes
    """The encoded picture."""
    size: tuple[int, int]
    """Its width and height in pixels."""
    width: int
    """Of the source as it is looked at, in pixels."""
    height: int
    content: str
    """Digest of size and pixels: equal for equal pictures, whatever file they came from. 32 hexadecimal digits."""
    phash: str
    """What `perceptual_hash` says; empty for a picture of one colour."""


def prepare_file(
    path: Path, resolution: int, crop: Crop = Crop.centre, position: float = 0.5, background: str = AUTO
) -> Picture:
    """The part of an image file that `crop` keeps, as an RGB PNG; raises Unusable. position: see `frame`.

    background: the ground behind transparent pixels, see `Dataset.background`.
    """
    with opened(path) as image:
        return _prepare(image, resolution, crop, position, background)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The image file, its header read and its size looked at; what fails inside, while it is decoded, raises Unusable too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns of is checked or raises below
            with Image.open(path, formats=formats()) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Unusable(f"too large: {image.width} x {image.height} is more than {MAX_PIXELS:,} pixels")
                if min(image.size) < MIN_SIDE:
                    raise Unusable(
                        f"too small: {image.width} x {image.height}, the shorter side must have {MIN_SIDE} pixels"
                    )
                yield image
    except Unusable:
        raise
    except Image.DecompressionBombError as error:
        raise Unusable(f"too large: {error}") from error
    except Exception as error:  # decoders fail on damaged files with errors of almost any type
        if path.stat().st_size == 0:
            raise Unusable("empty file") from error
        text = " ".join(re.sub(rf"\s*['\"]?{re.escape(str(path))}['\"]?", "", str(error)).split())[
            :200
        ]  # told beside it
        raise Unusable(f"{'truncated' if 'truncated' in text.lower() else 'unreadable'}: {text}") from error


def fitted(path: Path, size: tuple[int, int], background: str = AUTO) -> Image.Image:
    """The largest middle part of an image file that has the shape of `size` (width, height), in RGB and of that size."""
    with opened(path) as image:
        picture = _upright(image, max(size))
        box = part(*picture.size, size)
        return rgb(picture.crop(box), background).resize(size, Image.Resampling.LANCZOS)


def _upright(image: Image.Image, side: int) -> Image.Image:
    """Decoded and turned as it is looked at. A JPEG may come smaller, but twice `side` or more."""
    # JPEG can decode at 1/2, 1/4 or 1/8 size; twice the target leaves the last step to the Lanczos filter.
    image.draft(None, (2 * side, 2 * side))
    image.load()
    return ImageOps.exif_transpose(image)


def _prepare(image: Image.Image, resolution: int, crop: Crop, position: float, background: str) -> Picture:
    width, height = image.size
    picture = _upright(image, resolution)
    if image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
        width, height = height, width
    box, size = frame(*picture.size, resolution, crop, position)
    # Cropped first: a box given to resize lets the filter see past its edges.
    kept = rgb(picture.crop(box), background).resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    kept.save(file, "PNG", compress_level=3)
    content = hashlib.blake2b(repr(size).encode() + kept.tobytes(), digest_size=16).hexdigest()
    return Picture(file.getvalue(), size, width, height, content, perceptual_hash(kept))
