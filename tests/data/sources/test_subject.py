"""A subject's pictures: captions, kohya's folders, what is kept for judging, and the class that it is one of."""

import pytest

from t2i.data.base import SPLITS
from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.subject import CLASS_TEMPLATES, Subject
from t2i.errors import ConfigError, UserError

from ..conftest import picture


def write(root, *names):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(root / name)
    return root


def kohya(root, folder="10_sks dog", count=5):
    return write(root, *(f"{folder}/{number}.png" for number in range(count)))


def test_an_instance_prompt_is_the_caption_of_pictures_that_have_none(tmp_path):
    root = write(tmp_path, "a.png", "b.png", "c.png")
    (root / "b.txt").write_text("sks dog asleep\n")
    data = Subject(root=str(root), caption="a photo of sks dog")
    said = {sample.id: sample.captions for split in SPLITS for sample in data.samples(split)}
    assert said == {"a.png": ("a photo of sks dog",), "b.png": ("sks dog asleep",), "c.png": ("a photo of sks dog",)}


def test_a_folder_of_kohya_says_repeats_identifier_and_class(tmp_path, store):
    data = Subject(root=str(kohya(tmp_path)), resolution=64)
    stage = prepare(data, store, progress=False)
    split = Prepared(stage.path).split("train")
    assert 0 < len(split) < 5 and set(split.repeats.tolist()) == {10}
    assert len(split.repeated()) == 10 * len(split), "an epoch sees each ten times"
    assert {text for texts in split.captions for text in texts} == {"sks dog"}
    assert data.classes() == ["dog"]
    assert data.regularised()[0] == "a photo of a dog" and len(data.regularised()) == len(CLASS_TEMPLATES)


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_some_pictures_are_kept_for_judging_whoever_else_comes(tmp_path, count):
    data = Subject(root=str(kohya(tmp_path, count=count)))
    kept, trained = ({sample.id for sample in data.samples(split)} for split in ("held_out", "train"))
    assert kept and trained and not kept & trained and len(kept | trained) == count
    (tmp_path / "10_sks dog" / "0.png").rename(tmp_path / "10_sks dog" / "renamed.png")
    again = {sample.id.replace("renamed", "0") for sample in data.samples("held_out")}
    assert again == kept, "a picture is kept for its content"


def test_of_each_subject_its_share_is_kept(tmp_path):
    write(tmp_path, *(f"{name}/{i}.png" for name in ("rex", "mia") for i in range(5)), "bo/0.png", "zoe/0.png")
    kept = [sample.id for sample in Subject(root=str(tmp_path), caption="a photo of sks dog").samples("held_out")]
    assert [sum(own.startswith(name) for own in kept) for name in ("rex", "mia")] == [2, 2]
    assert len(kept) == 5, "and of those who are alone in their folders one of two"


def test_pictures_of_the_class_beside_those_of_the_subject_are_none_of_it(tmp_path):
    write(tmp_path, *(f"img/5_abc cat/{i}.png" for i in range(3)), *(f"reg/1_cat/{i}.png" for i in range(3)))
    data = Subject(root=str(tmp_path))
    found = [sample for split in SPLITS for sample in data.samples(split)]
    assert {sample.id for sample in found} == {f"img/5_abc cat/{i}.png" for i in range(3)}
    assert {sample.repeats for sample in found} == {5} and data.classes() == ["cat"]
    assert [line[1] for line in data.remarks.left_out["class"]] == ["a picture of the class, not of the subject"] * 3


def test_a_folder_called_reg_alone_is_a_subject_like_any_other(tmp_path):
    data = Subject(root=str(write(tmp_path, "reg/a.png", "reg/b.png")), caption="reg the cat")
    assert sum(len(data.samples(split)) for split in SPLITS) == 2


def test_what_was_typed_holds_over_what_a_folder_says(tmp_path):
    root = str(kohya(tmp_path))
    assert Subject(root=root, class_word="puppy").regularised()[0] == "a photo of a puppy"
    assert Subject(root=root, class_word="owl").regularised()[0] == "a photo of an owl"
    assert Subject(root=root, regularisation=["two dogs"]).regularised() == ["two dogs"]
    assert Subject(root=str(write(tmp_path / "flat", "a.png"))).regularised() == []


def test_one_picture_cannot_be_learned_and_judged(tmp_path):
    data = Subject(root=str(kohya(tmp_path, count=1)))
    with pytest.raises(
        UserError, match="has one picture in .*, and one is kept for judging: expected 4 to 30 pictures"
    ):
        list(data.samples("train"))


def test_pictures_without_words_say_what_to_type(tmp_path):
    data = Subject(root=str(write(tmp_path, "a.png", "b.png")))
    with pytest.raises(UserError, match=r"none of the 2 images has a caption \(dataset.caption=.*expected 4 to 30"):
        list(data.samples("train"))


@pytest.mark.parametrize(("settings", "sentence"), [
    ({"class_word": " "}, "dataset.class_word is blank"),
    ({"regularisation": ["a dog", " "]}, "dataset.regularisation holds a blank caption"),
    ({"held_out_share": 1.0}, "dataset.held_out_share=1.0 is not between 0 and 1"),
])  # fmt: skip
def test_values_that_mean_nothing_are_refused(tmp_path, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Subject(root=str(tmp_path), **settings).validate()
