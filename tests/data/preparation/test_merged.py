"""Captions of equal and alike pictures are not lost; a subset is repeated; what an epoch repeats."""

import json

import pytest
from PIL import Image

from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.folder import Folder
from t2i.errors import ConfigError, UserError

from ..conftest import picture


def wallpaper(side):
    """Clouds, whose hash does not depend on the size."""
    return picture(60, (12, 12)).resize((512, 512), Image.Resampling.BICUBIC).resize(side, Image.Resampling.LANCZOS)


def write(root, name, image, *captions, **settings):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    image.save(root / name, **settings)
    (root / name).with_suffix(".txt").write_text("\n".join(captions))


def counts(stage):
    return json.loads((stage.path / "audit.json").read_text())["counts"]


def captions(stage):
    found = {}
    for split in ("train", "held_out"):
        part = Prepared(stage.path).split(split)
        found |= dict(zip(part.ids, part.captions, strict=True))
    listed = json.loads((stage.path / "captions_subset.json").read_text())
    assert {key: said["captions"] for s in ("train", "held_out") for key, said in listed[s].items()} == found
    return found


@pytest.fixture
def root(tmp_path):
    """Twenty pictures; one of them three times by bytes, one twice by pixels, one wallpaper in three sizes."""
    root = tmp_path / "data"
    for number in range(20):
        write(root, f"n{number:02d}.png", picture(number), f"noise {number}")
    for name in "abc":
        write(root, f"copy_{name}.png", picture(50), f"copy {name}", "a copy")
    write(root, "pixels_a.png", picture(51), "one file")
    write(root, "pixels_b.bmp", picture(51), "another file", "one file")
    for side in (128, 256, 192):
        write(root, f"wall_{side}.png", wallpaper((side, side)), f"clouds of {side}")
    return root


def held(root, **settings):
    """All but one picture in training."""
    return Folder(root=str(root), resolution=64, held_out_share=0.0001, **settings)


def test_captions_of_equal_pictures_are_merged(root, store):
    stage = prepare(held(root), store)
    found = captions(stage)
    assert found["copy_a.png"] == ["copy a", "a copy", "copy b", "copy c"]
    assert found["pixels_a.png"] == ["one file", "another file"]
    assert found["n00.png"] == ["noise 0"]
    assert counts(stage)["kept"]["merged_captions"] == 3
    assert counts(stage)["train"]["captions"] + counts(stage)["held_out"]["captions"] == sum(map(len, found.values()))
    assert counts(stage)["set_aside"]["duplicate"] == 3
    assert {f"wall_{side}.png" for side in (128, 192, 256)} <= set(found)


@pytest.mark.parametrize("choice", ["drop", "merge"])
def test_of_pictures_that_look_alike_the_largest_stays(root, store, choice):
    from t2i.data.base import NearDuplicates

    stage = prepare(held(root, near_duplicates=NearDuplicates(choice)), store)
    found = captions(stage)
    assert [name for name in found if name.startswith("wall")] == ["wall_256.png"]
    expected = {"clouds of 256"} | ({"clouds of 128", "clouds of 192"} if choice == "merge" else set())
    assert set(found["wall_256.png"]) == expected and len(found["wall_256.png"]) == len(expected)
    assert len(found) == 20 + 1 + 1 + 1 and found["copy_a.png"] == ["copy a", "a copy", "copy b", "copy c"]
    numbers = counts(stage)["set_aside"]
    assert (numbers["look_alike"], numbers["near_duplicates"], numbers["duplicate"]) == (2, 0, 3)
    aside = {
        item["id"]: item["reason"] for item in json.loads((stage.path / "duplicates.json").read_text())["set_aside"]
    }
    assert aside["wall_128.png"].startswith("near duplicate of wall_256.png (")
    kept = prepare(held(root), store)
    one, other = Prepared(stage.path).split("train"), Prepared(kept.path).split("train")
    both = [key for key in one.ids if key in other.ids]
    assert (one.pixels([one.ids.index(k) for k in both]) == other.pixels([other.ids.index(k) for k in both])).all()


def test_nothing_is_merged_across_the_splits(tmp_path, store):
    for name, number in (("train/a", 0), ("train/b", 1), ("test/c", 1), ("test/d", 2)):
        write(tmp_path, f"{name}.png", picture(number), f"words of {name}")
    stage = prepare(Folder(root=str(tmp_path), resolution=64), store)
    assert captions(stage) == {
        "train/a.png": ["words of train/a"],
        "test/c.png": ["words of test/c"],
        "test/d.png": ["words of test/d"],
    }
    assert counts(stage)["set_aside"]["leak"] == 1


def test_flat_pictures_are_listed(tmp_path, store):
    write(tmp_path, "a.png", Image.new("RGB", (64, 64), "white"), "snow")
    write(tmp_path, "b.png", Image.new("RGB", (64, 64), "black"), "night")
    write(tmp_path, "c.png", picture(0), "noise")
    stage = prepare(Folder(root=str(tmp_path), resolution=64), store)
    images = json.loads((stage.path / "audit.json").read_text())["images"]
    assert {image["id"] for image in images if image.get("flat")} == {"a.png", "b.png"}
    assert counts(stage)["kept"]["flat"] == 2 and len(captions(stage)) == 3


def test_a_subset_is_repeated(root, store, tmp_path):
    first = prepare(held(root, limit=9, held_out=1, seed=3), store)
    file = first.path / "captions_subset.json"
    head = json.loads(file.read_text())
    assert (head["seed"], head["resolution"], head["crop"]) == (3, 64, "centre")
    key, said = next(iter(head["train"].items()))
    assert said["file"] == key and said["domains"] == []
    again = prepare(held(root, subset=str(file), limit=4), store)
    for split in ("train", "held_out"):
        one, other = (Prepared(stage.path).split(split) for stage in (first, again))
        assert one.ids == other.ids and (one.pixels(range(len(one))) == other.pixels(range(len(one)))).all()
    (root / key).unlink()
    with pytest.raises(UserError, match=f"names 1 images of train that dataset=folder does not have, such as {key}"):
        prepare(held(root, subset=str(file)), store)
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(UserError, match="is no captions_subset.json"):
        held(root, subset=str(tmp_path / "other.json")).samples("train")
    with pytest.raises(ConfigError, match="dataset.subset=gone.json is no file"):
        held(root, subset="gone.json").validate()


@pytest.mark.parametrize("below", ["", "img/"])
def test_kohyas_folders_repeat_and_name_their_pictures(tmp_path, store, below):
    tmp_path = tmp_path / "data"
    write(tmp_path, "10_sks dog/a.png", picture(0), "a dog on grass")
    picture(1).save(tmp_path / "10_sks dog/b.png")
    write(tmp_path, "1_sofa/c.png", picture(2), "a sofa")
    write(tmp_path, "1_sofa/d.png", picture(3), "a couch")
    if below:
        tmp_path.rename(tmp_path.with_name("img"))
        tmp_path.mkdir()
        tmp_path.with_name("img").rename(tmp_path / "img")
    data = Folder(root=str(tmp_path), resolution=64, held_out_share=0.0001)
    stage = prepare(data, store)
    train = Prepared(stage.path).split("train")
    train.ids = [key.removeprefix(below) for key in train.ids]
    said = {key.removeprefix(below): texts for key, texts in captions(stage).items()}
    assert said["10_sks dog/b.png"] == ["sks dog"] and said["10_sks dog/a.png"] == ["a dog on grass"]
    domains = dict(zip(train.ids, train.domains, strict=True))
    assert all(domains[key] == [key.partition("/")[0].partition("_")[2]] for key in domains)
    repeated = train.repeated()
    assert len(repeated) == sum(10 if key.startswith("10_") else 1 for key in train.ids) and len(
        set(repeated.ids)
    ) == len(repeated)
    key = next(key for key in train.ids if key.startswith("10_"))
    places = [repeated.ids.index(f"{key}#{n}" if n > 1 else key) for n in range(1, 11)]
    assert len({repeated.encoded(place) for place in places}) == 1
    assert list(data.remarks.notes) == ["captions of images without one are the names of their folders (as in 10_name)"]
