"""Colours as they are meant: embedded profiles, and a ground on which transparent pictures can be seen."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from t2i.data.preparation.colours import Unusable, rgb
from t2i.data.preparation.decode import prepare_file
from t2i.data.preparation.prepare import prepare
from t2i.data.sources.folder import Folder
from t2i.errors import ConfigError

from ..conftest import picture

# Primaries and white point (x, y) and exponent; the white of ProPhoto is D50. Sources: Apple's Display P3 (SMPTE RP 431-2 with
# D65 and sRGB's curve), Adobe RGB (1998) 4.3, ROMM RGB (ISO 22028-2). An exponent stands for each curve, in file and formula.
D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
SPACES = {
    "Display P3": ([(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)], D65, 2.4),
    "Adobe RGB": ([(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)], D65, 563 / 256),
    "ProPhoto": ([(0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)], D50, 1.8),
    "linear sRGB": ([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)], D65, 1.0),
}
SRGB = ([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)], D65)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
PCS = np.array([0.9642, 1.0, 0.8249])  # D50 of ICC.1, 7.2.16


def xyz(x, y):
    return np.array([x / y, 1, (1 - x - y) / y])


def matrix(primaries, white):
    """RGB to XYZ, adapted to D50 by Bradford's method; columns are the colorants of an ICC profile."""
    columns = np.stack([xyz(*place) for place in primaries], 1)
    columns = columns * np.linalg.solve(columns, xyz(*white))
    scale = (BRADFORD @ PCS) / (BRADFORD @ xyz(*white))
    return np.linalg.inv(BRADFORD) @ np.diag(scale) @ BRADFORD @ columns


def number(value):
    return struct.pack(">i", round(value * 65536))


def profile(columns, exponent, space=b"RGB "):
    """A version 2 ICC profile of matrix and exponents (ICC.1:2001-04)."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256)) + bytes(2)
    tags = {b"wtpt": b"XYZ " + bytes(4) + b"".join(map(number, PCS))}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
            tags[name + b"XYZ"] = b"XYZ " + bytes(4) + b"".join(map(number, column))
            tags[name + b"TRC"] = curve
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78 + 3)
    tags[b"cprt"] = b"text" + bytes(4) + b"none"
    body, table, start = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(4 * 7) + b"".join(map(number, PCS))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def srgb(colour, space):
    """What a colour of the space is in sRGB: IEC 61966-2-1, out of gamut clipped."""
    primaries, white, exponent = SPACES[space]
    linear = np.linalg.inv(matrix(*SRGB)) @ matrix(primaries, white) @ ((np.array(colour) / 255) ** exponent)
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


COLOURS = [(200, 100, 50), (30, 180, 60), (40, 60, 200), (128, 128, 128), (255, 0, 0), (250, 240, 20), (90, 20, 110)]


def read(path):
    return np.asarray(Image.open(io.BytesIO(prepare_file(path, 64).png)), np.int16)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "avif"])
def test_a_profile_is_applied(tmp_path, space, suffix):
    primaries, white, exponent = SPACES[space]
    icc = profile(matrix(primaries, white), exponent)
    lossy = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}, "avif": {"quality": 100}}
    for place, colour in enumerate(COLOURS):
        path = tmp_path / f"{place}.{suffix}"
        Image.new("RGB", (64, 64), colour).save(path, icc_profile=icc, **lossy.get(suffix, {}))
        raw = np.asarray(Image.open(path), np.int16)[32, 32]  # what a lossy format made of the numbers
        found = read(path)[32, 32]
        assert np.abs(raw - colour).max() <= 3
        assert np.abs(found - srgb(raw, space)).max() <= 2, (raw, found, srgb(raw, space))


def test_what_was_wrong_by_a_hundred_is_right():
    """A green of ProPhoto: read as sRGB it is off by more than 100 of 255."""
    primaries, white, exponent = SPACES["ProPhoto"]
    image = Image.new("RGB", (16, 16), (120, 180, 160))
    image.info["icc_profile"] = profile(matrix(primaries, white), exponent)
    expected = srgb((120, 180, 160), "ProPhoto")
    assert np.abs(expected - (120, 180, 160)).max() > 100
    assert np.abs(np.asarray(rgb(image), np.int16)[0, 0] - expected).max() <= 3


@pytest.mark.parametrize("mode", ["P", "RGBA", "L", "LA", "I;16"])
def test_a_profile_is_applied_in_every_mode(tmp_path, mode):
    grey = mode in ("L", "LA", "I;16")
    icc = profile(None, 1.0, b"GRAY") if grey else profile(matrix(*SPACES["Adobe RGB"][:2]), 563 / 256)
    colour = (64, 64, 64) if grey else (200, 100, 50)
    image = Image.new("RGB", (64, 64), colour)
    if mode == "I;16":
        image = Image.fromarray(np.full((64, 64), 64 * 257, np.uint16))
    elif mode == "P":
        image = image.quantize(4)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "x.png", icc_profile=icc)
    space = "linear sRGB" if grey else "Adobe RGB"
    assert np.abs(read(tmp_path / "x.png")[32, 32] - srgb(colour, space)).max() <= 3


@pytest.mark.parametrize("icc", [b"", b"damaged", bytes(200), profile(matrix(*SRGB), 2.2)[:200]])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_without_a_usable_profile_numbers_are_srgb(icc, mode):
    image = picture(0).convert(mode)
    image.info["icc_profile"] = icc
    assert (np.asarray(rgb(image)) == np.asarray(picture(0).convert(mode).convert("RGB"))).all()


def test_srgb_as_others_write_it_moves_nothing():
    image = picture(0)
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (np.asarray(rgb(image)) == np.asarray(picture(0))).all()


def sign(ink, ground=(0, 0, 0, 0)):
    """A bar of ink in the middle of a transparent picture."""
    image = Image.new("RGBA", (64, 64), ground)
    image.paste(ink, (8, 24, 56, 40))
    return image


@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ((255, 255, 255, 255), 0),  # white would hide it
        ((240, 244, 240, 255), 0),
        ((255, 255, 255, 128), 0),
        ((0, 0, 0, 255), 255),
        ((128, 128, 128, 255), 255),
        ((200, 30, 30, 255), 255),
    ],
)
def test_the_ground_is_the_one_on_which_the_picture_is_seen(ink, ground):
    found = np.asarray(rgb(sign(ink)))
    assert (found[0, 0] == ground).all()
    assert abs(int(found[32, 32].max()) - ground) > 40 or abs(int(found[32, 32].min()) - ground) > 40


def test_a_page_with_round_corners_stays_white():
    page = Image.new("RGBA", (64, 64), (255, 255, 255, 255))
    page.paste((0, 0, 0, 255), (10, 10, 50, 14))
    page.putpixel((0, 0), (0, 0, 0, 0))
    assert np.asarray(rgb(page))[0, 0].tolist() == [255, 255, 255]


def test_the_ground_can_be_named():
    for name, ground in (("white", [255] * 3), ("black", [0] * 3), ("#808080", [128] * 3), ("red", [255, 0, 0])):
        assert np.asarray(rgb(sign((255, 255, 255, 255)), name))[0, 0].tolist() == ground
    with pytest.raises(ConfigError, match="dataset.background=blu is no colour"):
        Folder(root=".", background="blu").validate()


def test_what_is_all_transparent_is_set_aside():
    with pytest.raises(Unusable, match="nothing to see: every pixel is transparent"):
        rgb(Image.new("RGBA", (64, 64), (9, 9, 9, 0)))


def test_white_icons_are_no_copies_of_each_other(tmp_path, store):
    for number in range(3):
        image = Image.new("RGBA", (64, 64))
        image.paste((255, 255, 255, 255), (4, 4 + 12 * number, 60, 16 + 12 * number))
        image.save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"icon {number}")
    stage = prepare(Folder(root=str(tmp_path), resolution=64, near_bits=None), store)
    counts = json.loads((stage.path / "audit.json").read_text())["counts"]
    assert counts["set_aside"]["duplicate"] == counts["set_aside"]["leak"] == 0
    assert counts["train"]["images"] + counts["held_out"]["images"] == 3


@pytest.mark.parametrize("suffix", ["avif", "jp2", "ppm", "jfif", "jpe"])
def test_the_kinds_that_this_pillow_reads_are_read(tmp_path, store, suffix):
    form = {"jfif": "JPEG", "jpe": "JPEG", "jp2": "JPEG2000"}.get(suffix)
    for number in range(2):
        Image.new("RGB", (64, 64), (200, 100 + number * 50, 50)).save(tmp_path / f"{number}.{suffix}", form)
        (tmp_path / f"{number}.txt").write_text(f"colour {number}")
    stage = prepare(Folder(root=str(tmp_path), resolution=64), store)
    counts = json.loads((stage.path / "audit.json").read_text())["counts"]
    assert counts["train"]["images"] == counts["held_out"]["images"] == 1
    assert np.abs(read(tmp_path / f"0.{suffix}")[32, 32] - (200, 100, 50)).max() <= 3
