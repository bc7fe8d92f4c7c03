"""Preparing again: only what has changed is decoded, whatever else became of the set."""

import json

import numpy as np
import pytest
from PIL import Image

from t2i.data.crop import Crop
from t2i.data.preparation import pool
from t2i.data.preparation import prepare as preparation
from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.folder import Folder
from t2i.store import MANIFEST

from ..conftest import picture


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that are decoded, in this process."""
    names = []
    original = pool.prepare_file

    def counted(path, *arguments):
        names.append(path.name)
        return original(path, *arguments)

    monkeypatch.setattr(pool, "prepare_file", counted)
    monkeypatch.setattr(preparation, "prepare_file", counted)
    monkeypatch.setattr(pool, "cores", lambda: 1)
    return names


@pytest.fixture
def thousand(tmp_path):
    """1,000 captioned images of 16 x 16 pixels, each different."""
    root = tmp_path / "thousand"
    root.mkdir()
    for number in range(1000):
        picture(number, (16, 16)).save(root / f"{number:03d}.png")
    rows = [{"file_name": f"{number:03d}.png", "text": f"picture {number}"} for number in range(1000)]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


def folder(root, **settings):
    return Folder(root=str(root), resolution=64, **settings)


def digests(stage):
    return json.loads((stage.path / MANIFEST).read_text())["files"]


def test_one_touched_image_of_a_thousand_is_decoded_again_and_no_other(thousand, store, tmp_path, decoded):
    prepare(folder(thousand), store)
    assert len(decoded) == 1000
    decoded.clear()
    picture(5000, (16, 16)).save(thousand / "123.png")
    stage = prepare(folder(thousand), store)
    assert decoded == ["123.png"] and not stage.reused
    assert digests(stage) == digests(prepare(folder(thousand), type(store)(tmp_path / "other")))


def test_captions_limits_and_splits_change_without_decoding(folder_root, store, decoded):
    root = folder_root("txt")
    prepare(folder(root), store)
    decoded.clear()
    (root / "cats/00.txt").write_text("another caption")
    assert not prepare(folder(root), store).reused
    assert not prepare(folder(root, limit=10, near_bits=None), store).reused
    assert not prepare(folder(root, seed=1), store).reused
    assert decoded == []
    prepare(folder(root, crop=Crop.random), store)  # other pixels
    assert len(decoded) == 40


def test_a_renamed_image_keeps_its_picture(folder_root, store, decoded):
    root = folder_root("txt")
    prepare(folder(root), store)
    decoded.clear()
    for suffix in (".png", ".txt"):
        (root / "cats/00").with_suffix(suffix).rename((root / "dogs/99").with_suffix(suffix))
    data = Prepared(prepare(folder(root), store).path)
    assert decoded == []
    split = next(split for split in map(data.split, ("train", "held_out")) if "dogs/99.png" in split.ids)
    expected = picture(0).crop((4, 0, 36, 32)).resize((64, 64), Image.Resampling.LANCZOS)
    assert (split.pixels([split.ids.index("dogs/99.png")])[0] == np.asarray(expected)).all()


def test_damage_in_an_earlier_stage_is_not_taken_over(folder_root, store, tmp_path, decoded):
    root = folder_root("txt")
    first = prepare(folder(root), store)
    path = next(first.path.glob("train-*.parquet"))
    content = bytearray(path.read_bytes())
    place = content.index(b"IDAT") + 40  # in the first picture
    content[place] ^= 255
    path.write_bytes(content)
    decoded.clear()
    (root / "cats/00.txt").write_text("another caption")
    held_out = len(Prepared(first.path).split("held_out"))
    stage = prepare(folder(root), store)
    assert len(decoded) == 40 - held_out  # the others may be damaged in a way that no checksum of theirs tells
    assert digests(stage) == digests(prepare(folder(root), type(store)(tmp_path / "other")))


def test_a_shard_that_no_longer_opens_is_passed_over(folder_root, store, decoded):
    root = folder_root("txt")
    first = prepare(folder(root), store)
    path = next(first.path.glob("train-*.parquet"))
    path.write_bytes(b"x" * path.stat().st_size)
    rows = len(Prepared(first.path).split("held_out"))
    decoded.clear()
    (root / "cats/00.txt").write_text("another caption")
    prepare(folder(root), store)
    assert len(decoded) == 40 - rows
