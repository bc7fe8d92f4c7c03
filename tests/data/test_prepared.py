"""Reading prepared images: any order, bounded memory, several shards."""

import io

import numpy as np
import pytest
from PIL import Image

from t2i.data import prepared
from t2i.data.preparation import shards
from t2i.data.preparation.decode import Picture
from t2i.data.prepared import Prepared
from t2i.data.sample import Sample

from .conftest import picture


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """50 pictures in row groups of 4 and shards of 20; the held-out split is empty."""
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 4)
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 20)
    with shards.ShardWriter(tmp_path, "train") as writer:
        for number in range(50):
            file = io.BytesIO()
            picture(number, (64, 64)).save(file, "PNG")
            sample = Sample(str(number), tmp_path, (f"caption {number}",), ("animal",) * (number % 2), ())
            made = Picture(file.getvalue(), (64, 64), 64, 64, "", "")
            writer.add(sample, made, f"{number}.png", "0" * 64)
    with shards.ShardWriter(tmp_path, "held_out"):
        pass
    return tmp_path


def test_pixels_come_in_the_order_that_was_asked_for(folder):
    train = Prepared(folder).split("train")
    assert [path.name for path in shards.shard_paths(folder, "train")] == [f"train-0000{n}.parquet" for n in range(3)]
    order = np.random.default_rng(0).permutation(50)
    array = train.pixels(order)
    assert array.shape == (50, 64, 64, 3) and array.dtype == np.uint8
    assert all((array[at] == np.asarray(picture(number, (64, 64)))).all() for at, number in enumerate(order))
    assert (train.pixels([7, 7, 3]) == array[[np.flatnonzero(order == n)[0] for n in (7, 7, 3)]]).all()
    assert train.domains[:3] == [[], ["animal"], []] and train.captions[49] == ["caption 49"]


def test_memory_stays_below_its_bound(folder, monkeypatch):
    monkeypatch.setattr(prepared, "CACHE_BYTES", 100_000)  # two groups of four pictures of 12.4 kB
    train = Prepared(folder).split("train")
    for start in range(50):
        train.pixels([start, (start * 17) % 50])
        assert sum(len(png) for group in train._cache.values() for png in group) == train._cached_bytes <= 100_000
    assert len(train._cache) == 2


def test_an_empty_split_is_empty_and_a_wrong_name_or_index_is_refused(folder):
    data = Prepared(folder)
    assert len(data.split("held_out")) == 0 and data.split("train") is data.split("train")
    with pytest.raises(KeyError, match="'test' is not a split"):
        data.split("test")
    for index in (-1, 50):
        with pytest.raises(IndexError, match="from 0 to 49"):
            data.split("train").pixels([index])
    (folder / "held_out-00000.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="no shard of the split held_out"):
        Prepared(folder).split("held_out")


def test_squares_are_the_middles_of_what_is_not_square(tmp_path):
    with shards.ShardWriter(tmp_path, "train") as writer:
        for number, (width, height) in enumerate([(80, 48), (64, 64)]):
            pixels = np.zeros((height, width, 3), np.uint8)
            pixels[:, width // 2 - 20 : width // 2 + 20] = 200  # a band in the middle, 40 wide
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            made = Picture(file.getvalue(), (width, height), width, height, "", "")
            writer.add(Sample(str(number), tmp_path, ("a band",), (), ()), made, f"{number}.png", "0" * 64)
    train = Prepared(tmp_path).split("train")
    found = train.squares([0, 1], 64)
    assert found.shape == (2, 64, 64, 3)
    # the middle 48 x 48 of the wide one, a band of 40 in it, enlarged to 53 of 64 pixels
    assert abs(int((found[0, 32, :, 0] > 100).sum()) - 53) <= 1
    assert (found[1] == train.pixels([1])[0]).all()


def test_a_part_is_a_split_of_its_own(folder):
    train = Prepared(folder).split("train")
    part = train.part([41, 3])
    assert (part.name, part.ids, part.captions) == ("train, 2 of 50", ["41", "3"], [["caption 41"], ["caption 3"]])
    assert (part.pixels([1])[0] == train.pixels([3])[0]).all() and part.encoded(0) == train.encoded(41)
    assert part.part([1]).ids == ["3"] and (part.part([1]).pixels([0]) == train.pixels([3])).all()
    assert len(train) == 50 and train.ids[0] == "0"
