"""What part of a picture is kept, and at which size."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from t2i.data.base import draw
from t2i.data.crop import Crop, buckets, corner, frame
from t2i.data.preparation.decode import prepare_file
from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.folder import Folder
from t2i.errors import UserError
from t2i.store import sha256_file

from .conftest import picture


@pytest.mark.parametrize(("resolution", "step"), [(64, 8), (72, 8), (128, 16), (256, 32), (512, 64), (1024, 64)])
def test_buckets_have_about_as_many_pixels_and_whole_steps(resolution, step):
    sizes = buckets(resolution)
    assert (resolution, resolution) in sizes and len(sizes) > 5
    assert all((height, width) in sizes for width, height in sizes)
    for width, height in sizes:
        assert width % step == height % step == 0 or (width, height) == (resolution, resolution)
        # Rounding a side to a step moves it by half a step at most, and no side is shorter than half the resolution
        # less half a step.
        assert abs(width * height - resolution**2) <= max(width, height) * step
        assert resolution / 2 - step <= min(width, height)


def test_a_picture_goes_to_the_nearest_aspect_ratio():
    for width, height in [(640, 480), (480, 640), (1000, 100), (333, 334), (3, 2)]:
        box, size = frame(width, height, 256, Crop.buckets, 0.5)
        shape = math.log(width / height)
        assert all(
            abs(math.log(size[0] / size[1]) - shape) <= abs(math.log(other[0] / other[1]) - shape) + 1e-12
            for other in buckets(256)
        )
        kept = (box[2] - box[0], box[3] - box[1])
        assert kept[0] == width or kept[1] == height
        assert kept[0] <= width and kept[1] <= height
    assert frame(640, 480, 256, Crop.buckets, 0.5)[1] == (288, 224)  # 1.29, nearer to 1.33 than 320 x 192 (1.67)


def test_the_position_goes_along_the_longer_side():
    assert frame(300, 100, 64, Crop.centre, 0.5)[0] == (100, 0, 200, 100)
    assert frame(300, 100, 64, Crop.random, 0.0)[0] == (0, 0, 100, 100)
    assert frame(100, 300, 64, Crop.random, 0.999)[0] == (0, 199, 100, 299)


def wide(root, count):
    root.mkdir()
    for number in range(count):
        picture(number, (96, 32)).save(root / f"{number}.png")
        (root / f"{number}.txt").write_text(f"picture {number}")
    return root


def test_a_random_crop_is_a_function_of_seed_and_content(tmp_path, store):
    root = wide(tmp_path / "data", 12)
    dataset = Folder(root=str(root), resolution=64, crop=Crop.random, seed=3)
    split = Prepared(prepare(dataset, store).path).split("train")
    lefts = set()
    for place, name in enumerate(split.ids):
        left = math.floor(64 * draw(3, "crop", sha256_file(root / name)))
        lefts.add(left)
        with Image.open(root / name) as image:
            expected = image.crop((left, 0, left + 32, 32)).resize((64, 64), Image.Resampling.LANCZOS)
        assert (split.pixels([place])[0] == np.asarray(expected)).all()
    assert len(lefts) > 5
    centred = prepare(Folder(root=str(root), resolution=64, seed=3), store)
    other = prepare(Folder(root=str(root), resolution=64, crop=Crop.random, seed=4), store)
    assert not centred.reused and not other.reused


def test_buckets_say_their_sizes_and_only_equal_ones_are_a_batch(tmp_path, store):
    root = wide(tmp_path / "data", 8)
    picture(50, (40, 40)).save(root / "square.png")
    (root / "square.txt").write_text("a square")
    dataset = Folder(root=str(root), resolution=64, crop=Crop.buckets, held_out_share=0.01)
    split = Prepared(prepare(dataset, store).path).split("train")
    sizes = dict(zip(split.ids, map(tuple, split.sizes.tolist()), strict=True))
    assert sizes.pop("square.png") == (64, 64) and set(sizes.values()) == {(112, 40)}  # 2.8, the nearest to 3
    wide_ones = [place for place, name in enumerate(split.ids) if name != "square.png"]
    assert split.pixels(wide_ones).shape == (len(wide_ones), 40, 112, 3)
    with pytest.raises(UserError, match="64 x 64 and 112 x 40 pixels are no batch"):
        split.pixels(range(len(split)))


def test_the_picture_says_the_size_of_its_source_and_its_own(tmp_path):
    picture(0, (200, 100)).save(tmp_path / "x.png")
    made = prepare_file(tmp_path / "x.png", 64, Crop.buckets)
    assert (made.width, made.height) == (200, 100) and made.size == (88, 48)  # 1.83, nearer to 2 than 96 x 40 (2.4)
    assert Image.open(io.BytesIO(made.png)).size == (88, 48)


@pytest.mark.parametrize("crop", Crop)
@pytest.mark.parametrize("size", [(240, 100), (90, 210), (128, 128), (61, 300)])
def test_prepared_data_know_the_size_of_a_file_and_where_the_crop_begins(tmp_path, store, crop, size):
    """Told by the pixels: red counts columns of the file and green its rows."""
    root = tmp_path / "pictures"
    root.mkdir()
    ramps = [np.linspace(0, 255, side) for side in size]
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = ramps[0][None, :], ramps[1][:, None]
    for number in range(4):
        pixels[..., 2] = 60 * number
        Image.fromarray(pixels).save(root / f"{number}.png")
        (root / f"{number}.txt").write_text(f"picture {number}")
    stage = prepare(Folder(root=str(root), resolution=64, crop=crop, near_bits=0), store, progress=False)
    split = Prepared(stage.path).split("train")
    corners = set()
    for index in range(len(split)):
        assert tuple(split.originals[index]) == size
        found, (wide, high) = split.pixels([index])[0].astype(float), split.sizes[index]
        scale = max(wide / size[0], high / size[1])
        left, top = split.corner(index)
        # the middle of the kept part lies this far along the file's
        middles = [(left + wide / 2) / (size[0] * scale), (top + high / 2) / (size[1] * scale)]
        seen = [found[..., channel].mean() / 255 for channel in (0, 1)]
        assert seen == pytest.approx(middles, abs=1.5 / 64)
        corners.add((left, top))
    assert (len(corners) > 1) == (crop is Crop.random and size != (128, 128))
    part = split.part([len(split) - 1])
    assert part.corner(0) == split.corner(len(split) - 1) and (part.originals == size).all()


def test_a_corner_is_in_pixels_of_the_picture_made_as_large():
    assert corner(200, 100, (50, 50), 0.5) == (25, 0) and corner(200, 100, (50, 50), 0.0) == (0, 0)
    assert corner(100, 400, (200, 200), 0.999)[1] == 598  # of 800 rows, 600 lie before the last 200
