"""What every data set checks before anything is read."""

import pytest
from omegaconf import OmegaConf

from t2i.data.base import draw
from t2i.data.sources.coco import Coco
from t2i.data.sources.folder import Folder
from t2i.data.sources.scenes_dataset import Scenes
from t2i.errors import ConfigError


def test_a_root_that_is_not_set_says_what_to_type():
    with pytest.raises(
        ConfigError, match=r"^dataset.root is not set .*cocodataset.*: type dataset.root=<folder> .*captions_train2017"
    ):
        Coco().validate()


def test_a_root_that_does_not_exist_is_named_with_the_way_to_get_it(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset.root=/nowhere does not exist \(run this\): type dataset.root="):
        Folder(root="/nowhere", obtain="run this").validate()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        Folder(root=str(tmp_path / "file")).validate()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resolution", 100),
        ("resolution", 56),
        ("resolution", 1032),
        ("quarantine", -0.1),
        ("quarantine", 1.5),
        ("near_bits", 33),
        ("near_bits", -1),
        ("limit", 0),
        ("held_out", -1),
        ("held_out_share", 1.0),
        ("kind", "coco"),
    ],
)
def test_a_wrong_value_is_a_sentence_that_names_its_key(tmp_path, key, value):
    with pytest.raises(ConfigError, match=rf"^dataset.{key}={value} "):
        Folder(**{"root": str(tmp_path), key: value}).validate()


@pytest.mark.parametrize(
    ("key", "value"), [("train", 0), ("val", -1), ("size", 63), ("size", 513), ("resolution", 520)]
)
def test_scenes_say_what_they_cannot_draw(key, value):
    with pytest.raises(ConfigError, match=f"dataset.{key}=|{value}"):
        Scenes(**{key: value}).validate()


@pytest.mark.parametrize("kind", [Coco, Folder, Scenes])
def test_a_schema_turns_into_the_object_that_acts(kind):
    settings = OmegaConf.merge(OmegaConf.structured(kind), {"limit": 3, "domains": ["animal"]})
    dataset = OmegaConf.to_object(settings)
    assert type(dataset) is kind and dataset.limit == 3 and dataset.domains == ["animal"]
    assert dataset.digest_parts() == {"resolution": dataset.resolution, "crop": "centre", "background": "auto"}


def test_draws_are_uniform_functions_of_their_purpose():
    numbers = [draw(0, "subset", str(number)) for number in range(10_000)]
    assert numbers[5] == draw(0, "subset", "5") != draw(1, "subset", "5") != draw(0, "held_out", "5")
    # The mean of 10,000 uniform numbers has a standard deviation of 0.0029.
    assert abs(sum(numbers) / len(numbers) - 0.5) < 0.0087
