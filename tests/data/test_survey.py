"""A survey counts what was put into a set, and its examples do not depend on the order of the rows."""

import json
from collections.abc import Sequence
from pathlib import Path

from t2i.data.reading import audit_head, pictures, pictures_named, texts
from t2i.data.survey import Survey, survey
from t2i.data.tokens import TokenLimit

from .listed import prepared


def letters(captions: Sequence[str]) -> list[int]:
    """A tokenizer of single characters, with start and end."""
    return [len(caption) + 2 for caption in captions]


TOKENS = TokenLimit("letters", 14, letters)


ROWS = [
    ("one", ["cats"], ["A cat's nap", "the CAT and the dog"]),
    ("two", ["dogs"], ["two dogs"]),
    ("three", ["dogs"], ["un chien près de l\u2019eau"]),
]


def test_counts_are_those_of_the_captions(tmp_path: Path) -> None:
    found = survey(prepared(tmp_path, ROWS).path, TOKENS)
    assert found.captions["train"] == 4 and found.images["train"] == 3
    assert found.domains["train"] == {"cats": 1, "dogs": 2}
    assert found.per_image == {1: 2, 2: 1}
    assert found.words == {2: 1, 3: 1, 5: 2}
    assert found.tokens == {10: 1, 13: 1, 21: 1, 24: 1}
    assert found.cut == (2, 7 + 10)  # of 14 tokens
    telling = ["cat", "cat's", "chien", "de", "dog", "dogs", "l\u2019eau", "nap", "pr\u00e8s", "two", "un"]
    assert found.frequent == [[word, 1] for word in telling]
    assert found.distinct_words == 14  # with a, and, the
    assert found.sizes == [[40, 32, 2], [41, 32, 1]]


def test_a_survey_survives_being_written(tmp_path: Path) -> None:
    found = survey(prepared(tmp_path, ROWS).path, TOKENS)
    found.write(tmp_path / "survey.json")
    assert Survey.read(tmp_path / "survey.json") == found


def test_without_a_tokenizer_no_caption_is_cut(tmp_path: Path) -> None:
    path = prepared(tmp_path, ROWS).path
    found = survey(path, None)
    assert found.tokens == {} and found.cut == (0, 0)
    assert found.words == {2: 1, 3: 1, 5: 2}


def test_examples_are_drawn_from_every_domain(tmp_path: Path) -> None:
    path = prepared(tmp_path, [(str(i), ["cats" if i % 6 else "dogs"], [f"number {i}"]) for i in range(60)]).path
    found = survey(path, TOKENS)
    rows = [row for part in texts(path, "train", ["id", "domains", "captions"]) for row in part]
    assert len(found.examples["cats"]) == 20 and len(found.examples["dogs"]) == 10
    assert all(rows[row]["domains"] == ["dogs"] for row in found.examples["dogs"])
    assert len(set(found.examples[""])) == 40 and found.examples[""] != sorted(found.examples[""])
    assert {row: rows[row]["captions"][0] for row in found.captioned} == found.captioned
    assert list(found.captioned) == found.examples[""][:15]


def test_pictures_are_those_of_their_rows(tmp_path: Path) -> None:
    from t2i.data.prepared import Prepared

    path = prepared(tmp_path, [(str(i), ["cats"], [f"number {i}"]) for i in range(40)]).path
    split = Prepared(path).split("train")
    assert pictures(path, "train", [39, 0, 17]) == {row: split.encoded(row) for row in (0, 17, 39)}
    assert pictures_named(path, "train", [split.ids[23], "no such id"]) == {split.ids[23]: split.encoded(23)}
    assert pictures_named(path, "set_aside", [split.ids[23]]) == {}


def test_a_column_that_is_not_there_is_empty(tmp_path: Path) -> None:
    path = prepared(tmp_path, ROWS).path
    assert [row["colour"] for rows in texts(path, "train", ["id", "colour"]) for row in rows] == [None] * 3


def test_the_head_of_the_audit_is_read_without_its_images(tmp_path: Path) -> None:
    path = prepared(tmp_path, ROWS).path
    head = audit_head(path)
    whole = json.loads((path / "audit.json").read_text())
    assert head == {key: whole[key] for key in head} and head["counts"]["train"]["images"] == 3
    assert "images" not in head
