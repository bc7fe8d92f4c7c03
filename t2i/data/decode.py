"""One image file of unknown origin to one square RGB picture, or a reason why not.

Rules: the header is checked before any pixel is decoded; of an animation the first frame counts; EXIF orientation is
applied; transparency is composited on white; palette, CMYK and grey become RGB; 16-bit (and 32-bit integer) grey is
read as 0 to 65,535 and divided by 257; embedded colour profiles are ignored. Then the largest centred square is
resized with a Lanczos filter.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 64_000_000
"""Width x height above this is taken for a decompression bomb."""
MIN_SIDE = 16
"""Images whose shorter side has fewer pixels show nothing that a caption could be about."""


class Unusable(Exception):
    """An image is set aside, for the reason given."""


@dataclass(frozen=True)
class Picture:
    """`png`: the encoded picture; `width` and `height`: of the source as it is looked at, in pixels."""

    png: bytes
    width: int
    height: int


def prepare_file(path: Path, resolution: int) -> Picture:
    """The centre square of an image file as a resolution x resolution RGB PNG; raises Unusable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns of is checked or raises below
            with Image.open(path, formats=FORMATS) as image:
                return _prepare(image, resolution)
    except Unusable:
        raise
    except Exception as error:  # decoders fail on damaged files with errors of almost any type
        if path.stat().st_size == 0:
            raise Unusable("empty file") from error
        raise Unusable(f"unreadable: {' '.join(str(error).replace(str(path), path.name).split())[:200]}") from error


def _prepare(image: Image.Image, resolution: int) -> Picture:
    if image.width * image.height > MAX_PIXELS:
        raise Unusable(f"too large: {image.width} x {image.height} is more than {MAX_PIXELS:,} pixels")
    if min(image.size) < MIN_SIDE:
        raise Unusable(f"too small: {image.width} x {image.height}, the shorter side must have {MIN_SIDE} pixels")
    width, height = image.size
    # JPEG can decode at 1/2, 1/4 or 1/8 size; twice the target leaves the last step to the Lanczos filter.
    image.draft(None, (2 * resolution, 2 * resolution))
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
        width, height = height, width
    picture = rgb(ImageOps.exif_transpose(image))
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    # Cropped first: a box given to resize lets the filter see past its edges.
    square = picture.crop((left, top, left + side, top + side)).resize(
        (resolution, resolution), Image.Resampling.LANCZOS
    )
    file = io.BytesIO()
    square.save(file, "PNG", compress_level=3)
    return Picture(file.getvalue(), width, height)


def rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB by the rules above; raises Unusable for pixels that have no stated rule."""
    if image.mode.startswith("I"):
        grey = np.rint(np.clip(np.asarray(image, np.float64), 0, 65535) / 257).astype(np.uint8)
        return Image.fromarray(grey, "L").convert("RGB")
    if image.mode == "F":
        raise Unusable("pixels are floating-point numbers of unknown range")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
