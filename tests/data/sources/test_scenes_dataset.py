"""The drawn world as a data set: drawn once, read by the COCO source, never confused with a folder of one's own."""

import dataclasses

import numpy as np
import pytest

from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.scenes_dataset import Light, Scenes

SMALL = {"train": 12, "val": 4}


def test_the_world_is_drawn_once_and_read_as_coco(store):
    dataset = Scenes(**SMALL)
    dataset.validate()
    before = dataclasses.asdict(dataset)
    stage = prepare(dataset, store)
    data = Prepared(stage.path)
    assert (len(data.split("train")), len(data.split("held_out"))) == (12, 4)
    assert all(len(captions) == 5 for captions in data.split("train").captions)
    assert {name for names in data.split("train").domains for name in names} <= {
        "animal",
        "vehicle",
        "food",
        "sports",
        "indoor",
    }
    assert dataclasses.asdict(dataset) == before
    assert prepare(Scenes(**SMALL), store).reused
    assert [path.name[0] != "." for path in (store.root / "scenes").iterdir()].count(True) == 1


def test_another_resolution_or_seed_is_another_world(store):
    digests = {prepare(Scenes(**SMALL, **change), store).digest for change in ({}, {"seed": 1}, {"resolution": 128})}
    assert len(digests) == 3
    array = Prepared(prepare(Scenes(**SMALL, resolution=128), store).path).split("train").pixels([0])
    assert array.shape == (1, 128, 128, 3)


def test_a_world_that_lies_somewhere_is_read_from_there(store, tmp_path):
    from t2i.data.sources import scenes

    scenes.write(tmp_path / "world", 5, {"train": 6, "val": 2}, 64)
    dataset = Scenes(root=str(tmp_path / "world"))
    dataset.validate()
    assert len(Prepared(prepare(dataset, store).path).split("train")) == 6
    assert not (store.root / "scenes").exists()


@pytest.mark.parametrize("domains", [["animal"], ["vehicle", "food"]])
def test_domains_filter_scenes(store, domains):
    train = Prepared(prepare(Scenes(**SMALL, domains=domains), store).path).split("train")
    assert 0 < len(train) <= 12 and all(set(domains) & set(names) for names in train.domains)


def test_dusk_is_the_same_world_in_less_light(store):
    day, dusk = (Prepared(prepare(Scenes(**SMALL, light=light), store).path).split("train") for light in Light)
    assert day.captions == dusk.captions and day.ids == dusk.ids
    darkened = 0.45 * day.pixels(range(12)) + 0.55 * np.array([10, 10, 60])
    assert np.abs(dusk.pixels(range(12)) - darkened).max() <= 1


def test_a_character_has_pictures_captions_and_a_domain_of_its_own(store):
    from t2i.data.sources.scenes_dataset import Character

    train = Prepared(prepare(Scenes(**SMALL, character=Character.pip), store).path).split("train")
    assert len(train) and all(own == ["character"] for own in train.domains)
    assert all(own == ["pip"] for own in train.categories)
    assert all("pip the" in text for group in train.captions for text in group)
