"""Pictures that look the same: found whatever their number, and not where there are none."""

import numpy as np
import pytest
from PIL import Image

from t2i.data.preparation.duplicates import Bands, near_pairs, perceptual_hash
from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.folder import Folder
from t2i.data.sources.scenes.coco import first_index
from t2i.data.sources.scenes.world import describe, draw
from t2i.data.sources.scenes_dataset import Scenes

from ..conftest import picture


def flipped(hashes: np.ndarray, bits: list[int]) -> np.ndarray:
    unpacked = np.unpackbits(hashes, axis=-1)
    unpacked[..., bits] ^= 1
    return np.packbits(unpacked, axis=-1)


@pytest.mark.parametrize("threshold", [0, 1, 4, 12, 32])
def test_every_hash_within_the_threshold_is_found_wherever_the_bits_differ(threshold):
    g = np.random.default_rng(0)
    hashes = g.integers(0, 256, (300, 32), np.uint8)
    bands = Bands(hashes, threshold)
    for place in range(0, 300, 7):
        bits = g.choice(256, threshold, replace=False).tolist()
        assert bands.nearest(flipped(hashes[place], bits).tobytes().hex()) == (place, threshold)
        one_more = flipped(hashes[place], [*bits, *[b for b in range(256) if b not in bits][:1]])
        assert bands.nearest(one_more.tobytes().hex()) is None
    assert bands.nearest("") is None and Bands(hashes[:0], threshold).nearest("00" * 32) is None


def test_pairs_are_those_of_comparing_all_with_all():
    g = np.random.default_rng(1)
    hashes = g.integers(0, 256, (400, 32), np.uint8)
    for place in range(200, 260):  # some near one, some near two others
        hashes[place] = flipped(hashes[place - 200 if place % 3 else place - 1], g.choice(256, 6, False).tolist())
    expected = []
    for later in range(400):
        distances = np.bitwise_count(hashes[:later] ^ hashes[later]).sum(axis=1)
        if later and distances.min() <= 12:
            expected.append((int(distances.argmin()), later, int(distances.min())))
    assert len(expected) >= 60
    assert near_pairs(hashes, 12) == expected


def test_alike_pictures_by_the_thousand_stay_quick():
    """Of 20,000 equal hashes, comparing all with all would take 200 million comparisons."""
    pairs = near_pairs(np.zeros((20_000, 32), np.uint8), 12)
    assert len(pairs) == 19_999 and all(bits == 0 and left < right for left, right, bits in pairs)


def test_pictures_without_structure_have_no_hash():
    assert perceptual_hash(Image.new("RGB", (64, 64), (200, 10, 10))) == ""
    assert len(perceptual_hash(picture(0, (64, 64)))) == 64


def test_flat_pictures_of_different_colours_are_no_duplicates(tmp_path, store):
    for number in range(12):
        Image.new("RGB", (32, 32), (20 * number, 0, 0)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"red {number}")
    data = Prepared(prepare(Folder(root=str(tmp_path), resolution=64), store).path)
    assert len(data.split("train")) + len(data.split("held_out")) == 12


def test_drawn_scenes_are_not_taken_for_duplicates_and_smaller_copies_are():
    scenes = [draw(describe(0, first_index("train") + number), 64)[0].convert("RGB") for number in range(150)]
    held_out = [draw(describe(0, first_index("val") + number), 64)[0].convert("RGB") for number in range(50)]
    hashes = [perceptual_hash(image) for image in scenes]
    bands = Bands(np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(-1, 32), 12)
    assert [bands.nearest(perceptual_hash(image)) for image in held_out] == [None] * 50
    half = [image.resize((32, 32), Image.Resampling.LANCZOS).resize((64, 64)) for image in scenes]
    found = [bands.nearest(perceptual_hash(image)) for image in half]
    assert sum(match is not None and match[0] == place for place, match in enumerate(found)) >= 148


def test_near_duplicates_are_not_looked_for_when_told_so(tmp_path, store):
    scene = draw(describe(0, 1), 128)[0].convert("RGB")
    for name, options in (("a.png", {}), ("b.jpg", {"quality": 90})):
        scene.save(tmp_path / name, **options)
        (tmp_path / name).with_suffix(".txt").write_text("a scene")
    picture(0, (64, 64)).save(tmp_path / "other.png")
    (tmp_path / "other.txt").write_text("another picture")
    for setting, count in ((12, 1), (None, 0)):
        stage = prepare(Folder(root=str(tmp_path), resolution=64, near_bits=setting), store)
        text = (stage.path / "duplicates.json").read_text()
        assert text.count("near duplicate of held-out") + text.count('"bits"') == count


@pytest.mark.slow
def test_the_default_world_loses_no_picture(store):
    data = Prepared(prepare(Scenes(train=1000, val=200), store, progress=False).path)
    assert (len(data.split("train")), len(data.split("held_out"))) == (1000, 200)
