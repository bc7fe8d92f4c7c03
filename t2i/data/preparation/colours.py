"""What the numbers of a picture mean: modes, embedded profiles and transparency become sRGB.

16-bit (and 32-bit integer) grey is read as 0 to 65,535 and divided by 257, 16-bit colour by its high byte. An embedded
ICC profile is applied with LittleCMS (perceptual intent, 8 bits); without one, with one that is damaged or for another
kind of colour, and in colours that a profile moves by two steps of 255 at most, the numbers are taken for sRGB.

Transparency is composited on the ground that the configuration names. "auto" is white, unless the picture keeps less than
a quarter of the contrast that it has on black: then black. Contrast is the standard deviation of luma (ITU-R BT.601).
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from t2i.data.checks import colour

AUTO = "auto"
KEPT = 0.25
"""Share of the contrast on black that a picture must have on white to be put on white."""
UNMOVED = 2
"""Steps of 255 by which a profile may move colours that are left as they are: sRGB itself, as it is written by others."""


class Unusable(Exception):
    """An image is set aside, for the reason given."""


def rgb(image: Image.Image, background: str = AUTO) -> Image.Image:
    """The image in mode RGB by the rules above; raises Unusable for pixels that have no stated rule."""
    profile = image.info.get("icc_profile") or b""
    if image.mode == "F":
        raise Unusable("pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):
        grey = np.rint(np.clip(np.asarray(image, np.float64), 0, 65535) / 257).astype(np.uint8)
        image = Image.fromarray(grey, "L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        opaque = _converted(layer.convert("RGB"), profile)
        return _composited(opaque, layer.getchannel("A"), background)
    return _converted(image, profile)


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    """In sRGB, by the profile where it is one for such an image."""
    kind = _kind(profile) if profile else ""
    if kind == "CMYK" and image.mode != "CMYK":
        kind = ""
    if not kind or (image.mode == "CMYK" and kind != "CMYK"):
        return image.convert("RGB")
    image = image.convert({"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[kind])
    transform = _transform(profile, image.mode)
    if transform is None:
        return image.convert("RGB")
    moved = ImageCms.applyTransform(image, transform)
    assert moved is not None  # not in place
    return moved


@lru_cache(maxsize=64)
def _kind(profile: bytes) -> str:
    """RGB, GRAY or CMYK; empty for a profile that is damaged or of another kind."""
    try:
        kind = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except (OSError, ImageCms.PyCMSError):
        return ""
    return kind if kind in ("RGB", "GRAY", "CMYK") else ""


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the profile to sRGB; None where it moves no colour, or cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        probe = _probe(mode)
        moved = ImageCms.applyTransform(probe, transform)
    except (OSError, ImageCms.PyCMSError):
        return None
    assert moved is not None
    difference = np.abs(np.asarray(moved, np.int16) - np.asarray(probe.convert("RGB"), np.int16))
    return transform if difference.max() > UNMOVED else None


def _probe(mode: str) -> Image.Image:
    """Colours from every part of the space."""
    levels = np.linspace(0, 255, 9 if mode != "L" else 256).astype(np.uint8)
    if mode == "L":
        return Image.fromarray(levels[None])
    grid = np.stack(np.meshgrid(*[levels] * len(mode), indexing="ij"), -1).reshape(1, -1, len(mode))
    return Image.fromarray(np.ascontiguousarray(grid), mode)


def _composited(picture: Image.Image, alpha: Image.Image, background: str) -> Image.Image:
    low, high = alpha.getextrema()
    if high == 0:
        raise Unusable("nothing to see: every pixel is transparent")
    if low == 255:
        return picture
    if background != AUTO:
        ground = colour(background)
        assert ground is not None  # checked with the configuration
        return Image.composite(picture, Image.new("RGB", picture.size, ground), alpha)
    white, black = (
        Image.composite(picture, Image.new("RGB", picture.size, ground), alpha) for ground in ("white", "black")
    )
    return white if _contrast(white) >= KEPT * _contrast(black) else black


def _contrast(picture: Image.Image) -> float:
    return float(np.asarray(picture.convert("L"), np.float32).std())
