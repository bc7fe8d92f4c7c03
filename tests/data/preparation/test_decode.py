"""One picture out of any file: orientation, transparency, modes, and the reasons to set a file aside."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i.data.preparation.colours import Unusable
from t2i.data.preparation.decode import prepare_file

from ..conftest import picture


def pixels(path: Path, resolution: int = 64) -> np.ndarray:
    with Image.open(io.BytesIO(prepare_file(path, resolution).png)) as image:
        assert image.mode == "RGB" and image.size == (resolution, resolution) and image.format == "PNG"
        return np.asarray(image)


def quadrants(array: np.ndarray) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters, rounded to 0 or 255."""
    quarter, three = array.shape[0] // 4, 3 * array.shape[0] // 4
    spots = [array[y, x] for y in (quarter, three) for x in (quarter, three)]
    return [tuple(int(value > 127) * 255 for value in spot) for spot in spots]


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def four_colours() -> Image.Image:
    image = Image.new("RGB", (80, 80))
    for number, colour in enumerate((RED, GREEN, BLUE, WHITE)):
        image.paste(colour, (number % 2 * 40, number // 2 * 40, number % 2 * 40 + 40, number // 2 * 40 + 40))
    return image


# EXIF 2.3, 4.6.4 A: what the viewer does with rows and columns, as (top left, top right, bottom left, bottom right).
ORIENTATIONS = {
    1: [RED, GREEN, BLUE, WHITE],
    2: [GREEN, RED, WHITE, BLUE],
    3: [WHITE, BLUE, GREEN, RED],
    4: [BLUE, WHITE, RED, GREEN],
    5: [RED, BLUE, GREEN, WHITE],
    6: [BLUE, RED, WHITE, GREEN],
    7: [WHITE, GREEN, BLUE, RED],
    8: [GREEN, WHITE, RED, BLUE],
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    four_colours().save(tmp_path / f"x.{suffix}", exif=exif, **({"quality": 95} if suffix == "jpg" else {}))
    assert quadrants(pixels(tmp_path / f"x.{suffix}")) == ORIENTATIONS[orientation]


def test_the_source_size_is_the_one_that_is_looked_at(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(0, (640, 320)).save(tmp_path / "x.jpg", exif=exif)
    prepared = prepare_file(tmp_path / "x.jpg", 64)
    assert (prepared.width, prepared.height) == (320, 640)


def test_the_largest_centred_square_is_kept(tmp_path):
    image = Image.new("RGB", (300, 100), RED)
    image.paste(BLUE, (100, 0, 200, 100))
    image.save(tmp_path / "x.png")
    assert (pixels(tmp_path / "x.png") == BLUE).all()


def test_small_images_are_enlarged_and_large_jpegs_keep_their_mean(tmp_path):
    picture(0, (20, 20)).save(tmp_path / "small.png")
    assert pixels(tmp_path / "small.png").shape == (64, 64, 3)
    ramp = np.tile(np.linspace(0, 255, 1024).astype(np.uint8), (1024, 1))
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "large.jpg", quality=95)
    assert np.abs(pixels(tmp_path / "large.jpg")[:, :, 0].mean(0) - np.linspace(2, 253, 64)).max() < 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparency_becomes_white(tmp_path, mode):
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 64, 32))
    if mode == "P":
        flat = Image.new("P", (64, 64), 0)
        flat.putpalette([255, 0, 0, 0, 0, 0])
        flat.paste(1, (0, 0, 64, 32))
        flat.save(tmp_path / "x.png", transparency=0)
    elif mode == "RGB":
        opaque = Image.new("RGB", (64, 64), RED)
        opaque.paste((0, 0, 0), (0, 0, 64, 32))
        opaque.save(tmp_path / "x.png", transparency=RED)
    else:
        image.convert(mode).save(tmp_path / "x.png")
    array = pixels(tmp_path / "x.png")
    assert (array[:30] == 0).all() and (array[34:] == 255).all()


def test_half_transparency_is_blended_with_white(tmp_path):
    Image.new("RGBA", (64, 64), (255, 0, 0, 51)).save(tmp_path / "x.png")
    assert pixels(tmp_path / "x.png")[0, 0].tolist() == [255, 204, 204]  # 0.2 red + 0.8 white


def test_sixteen_bit_grey_is_divided_by_257(tmp_path):
    Image.fromarray(np.full((64, 64), 25700, np.uint16)).save(tmp_path / "x.png")
    assert (pixels(tmp_path / "x.png") == 100).all()
    Image.fromarray(np.full((64, 64), 25700, np.int32)).save(tmp_path / "x.tiff")
    assert (pixels(tmp_path / "x.tiff") == 100).all()


def test_cmyk_grey_and_one_bit_become_rgb(tmp_path):
    Image.new("CMYK", (64, 64), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=95)
    assert quadrants(pixels(tmp_path / "c.jpg")) == [RED] * 4
    Image.new("L", (64, 64), 77).save(tmp_path / "l.png")
    assert (pixels(tmp_path / "l.png") == 77).all()
    Image.new("1", (64, 64), 1).save(tmp_path / "b.bmp")
    assert (pixels(tmp_path / "b.bmp") == 255).all()


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_the_first_frame_of_an_animation_counts(tmp_path, suffix):
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:], duration=100)
    assert quadrants(pixels(tmp_path / f"x.{suffix}")) == [RED] * 4


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises width x height pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = (header, data, b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "^empty file$"),
        (b"not an image", "^unreadable: cannot identify image file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "^unreadable"),
        (bomb(60_000, 60_000), "^too large: Image size"),
        (bomb(8_001, 8_000), "^too large: 8001 x 8000 is more than 64,000,000 pixels"),
        (bomb(500, 500), "^truncated"),
    ],
)
def test_what_is_no_picture_has_a_reason(tmp_path, content, reason):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(Unusable, match=reason):
        prepare_file(tmp_path / "x.png", 64)


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.75, 0.97])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_file_that_was_cut_is_unusable_wherever_it_was_cut(tmp_path, suffix, share):
    path = tmp_path / f"x.{suffix}"
    picture(0, (128, 128)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(Unusable, match="^truncated" if suffix == "jpg" and share > 0.1 else "^(unreadable|truncated)"):
        prepare_file(path, 64)


def test_tiny_and_floating_point_images_are_set_aside(tmp_path):
    picture(0, (200, 15)).save(tmp_path / "x.png")
    with pytest.raises(Unusable, match="too small: 200 x 15"):
        prepare_file(tmp_path / "x.png", 64)
    Image.fromarray(np.ones((64, 64), np.float32)).save(tmp_path / "x.tiff")
    with pytest.raises(Unusable, match="floating-point"):
        prepare_file(tmp_path / "x.tiff", 64)
