"""Prompts of subjects: who is on which picture, which words ask for it, and twins that name the class in its place."""

import pytest

from t2i.data.sources.scenes.world import CHARACTERS
from t2i.errors import UserError
from t2i.evaluation.suites.subjects import (
    CONTEXTS,
    of_character,
    of_pictures,
    owner_of,
    shared_words,
    unrelated,
)


@pytest.mark.parametrize("name", CHARACTERS)
def test_a_characters_prompts_have_its_name_and_their_twins_do_not(name: str) -> None:
    prompts, plain = of_character(name)
    assert len(prompts) == len({*prompts}) == len(plain) == 16
    for own, twin in zip(prompts, plain, strict=True):
        assert name in own.split() and name not in twin.split()
        assert own.split(" ")[-2:] == twin.split(" ")[-2:], "both of one place"


def test_a_characters_prompts_begin_as_its_captions_did_in_training() -> None:
    prompts, plain = of_character("otto", "<otto> ")
    assert prompts[0] == "<otto> otto the elephant in a meadow" and plain == of_character("otto")[1]
    assert all("<otto> otto the elephant" in own for own in prompts)


@pytest.mark.parametrize(
    ("captions", "words"),
    [
        (["a photo of sks dog"] * 3, "a photo of sks dog"),
        (["sks dog on a sofa", "a sks dog, asleep", "the snow and sks dog on it"], "sks"),
        (["sks dog on a sofa", "a sks dog asleep", "the snow and sks dog on it"], "sks dog"),
        (["a photo of sks dog on the sofa", "a photo of sks dog on the grass"], "a photo of sks dog"),
        (["sks dog in a box", "sks dog in a bag", "sks dog in a car"], "sks dog"),
        (["on the sofa", "on the grass"], ""),
        (["rex", "rexine"], ""),
        ([], ""),
    ],
)
def test_the_words_that_ask_for_it_are_those_that_all_captions_share(captions: list[str], words: str) -> None:
    assert shared_words(captions) == words


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("a.jpg", ""),
        ("10_sks dog/a.jpg", "sks dog"),
        ("img/10_sks dog/a.jpg#2", "sks dog"),
        ("train/rex/b.png", "rex"),
        ("test/a.jpg", ""),
    ],
)
def test_a_picture_is_of_the_subject_that_its_folder_names(key: str, owner: str) -> None:
    assert owner_of(key) == owner


def test_several_subjects_each_have_their_own_prompts_and_pictures() -> None:
    trained = (["10_sks dog/a.jpg", "5_zwx cat/a.jpg", "10_sks dog/b.jpg"], [["sks dog"], ["zwx cat"], ["sks dog"]])
    held_out = (["5_zwx cat/c.jpg", "10_sks dog/c.jpg"], [["zwx cat"], ["sks dog"]])
    dog, cat = of_pictures(trained, held_out, ["cat", "dog"])
    assert (dog.trained, dog.held_out, cat.trained, cat.held_out) == ([0, 2], [1], [1], [0])
    assert dog.prompts[0] == f"sks dog {CONTEXTS[0]}" and dog.plain[0] == f"a photo of a dog {CONTEXTS[0]}"
    assert cat.plain[1] == f"a photo of a cat {CONTEXTS[1]}"
    within = (["10_catto dog/a.jpg", "10_zzz cat/a.jpg"], [["catto dog"], ["zzz cat"]])
    for classes in (["cat", "dog"], ["dog", "cat"]):
        assert [own.plain[0][:14] for own in of_pictures(within, within, classes)] == [
            "a photo of a d",
            "a photo of a c",
        ]
    with_word = of_pictures(trained, held_out, ["cat", "dog"], "<rex> ")
    assert with_word[0].prompts[0].startswith("<rex> sks dog")


def test_a_subject_that_nothing_can_judge_is_left_out_and_none_at_all_is_told() -> None:
    trained = (["a/1.jpg", "b/1.jpg"], [["sks dog"], ["zwx dog"]])
    (only,) = of_pictures(trained, (["b/2.jpg"], [["zwx dog"]]), ["dog"])
    assert only.name == "b"
    with pytest.raises(UserError, match="no subject has both a picture"):
        of_pictures(trained, ([], []), ["dog"])
    with pytest.raises(UserError, match="have no word in common"):
        of_pictures((["1.jpg", "2.jpg"], [["sks dog"], ["a cat"]]), (["3.jpg"], [["x"]]), ["dog"])
    with pytest.raises(UserError, match=r"type dataset\.class_word=dog"):
        of_pictures((["1.jpg"], [["sks"]]), (["3.jpg"], [["sks"]]), [])


def test_unrelated_prompts_are_different_and_name_none_of_the_classes() -> None:
    found = unrelated(60, ["cat", "dog"])
    assert len({*found}) == 60 and not any(kind in text for text in found for kind in ("cat", "dog"))
    assert found[:20] == unrelated(20, ["cat", "dog"])
    assert any("dog" in text for text in unrelated(60, ["cat"]))
