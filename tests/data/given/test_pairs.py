"""Which pictures of two folders belong together."""

from pathlib import Path

import pytest

from t2i.data.given.folder import Gallery
from t2i.data.given.pairs import together


def given(name: str, names: list[str], captions: list[str] | None = None, seeds: list[int] | None = None) -> Gallery:
    return Gallery(
        Path(name),
        tuple(names),
        None if captions is None else tuple(captions),
        None if seeds is None else tuple(seeds),
        "x",
    )


def names(count: int, first: int = 0, end: str = "png") -> list[str]:
    return [f"{number:03d}.{end}" for number in range(first, first + count)]


def test_equal_names_are_pairs_whatever_their_ends() -> None:
    found = together([given("a", names(4)), given("b", names(4, end="jpg"))])
    assert found.by == "file name" and [own.names for own in found.sets] == [
        tuple(names(4)),
        tuple(names(4, end="jpg")),
    ]


def test_equal_names_of_different_captions_are_paired_by_caption() -> None:
    found = together([given("a", names(3), ["x", "y", "z"]), given("b", names(3), ["z", "x", "y"])])
    assert found.by == "caption" and found.sets[1].names == ("001.png", "002.png", "000.png")


def test_equal_names_of_other_captions_altogether_are_no_pairs() -> None:
    found = together([given("a", names(3), ["x", "y", "z"]), given("b", names(3), ["u", "v", "w"])])
    assert not found.paired and found.by == ""


def test_one_caption_several_times_is_paired_by_seed_and_else_in_order() -> None:
    first = given("a", ["k", "l", "m"], ["x", "x", "y"], [1, 2, 3])
    second = given("b", ["n", "o", "p"], ["x", "y", "x"], [2, 3, 1])
    found = together([first, second])
    assert found.by == "caption and seed" and found.sets[1].names == ("p", "n", "o")
    other = given("b", ["n", "o", "p"], ["x", "y", "x"], [7, 8, 9])  # other seeds: pairs of one caption still
    assert together([first, other]).by == "caption" and together([first, other]).sets[1].names == ("n", "p", "o")


@pytest.mark.parametrize(("lacking", "paired"), [(0, True), (3, True), (4, False)])
def test_a_tenth_may_have_no_partner_and_is_told(lacking: int, paired: bool) -> None:
    found = together([given("a", names(30)), given("b", names(30 - lacking, lacking))])
    assert found.paired is paired and len(found.sets[0]) == len(found.sets[1]) == 30 - lacking
    assert bool(found.notes) is bool(lacking) and all("left out" in note for note in found.notes)


def test_independent_sets_are_cut_to_one_size_by_a_lot_that_stays() -> None:
    first, second = given("a", names(40)), given("b", [f"x{number}" for number in range(25)])
    found, again = together([first, second]), together([first, second])
    assert not found.paired and [len(own) for own in found.sets] == [25, 25]
    assert found.sets[0].names == again.sets[0].names and "15 pictures of a" in found.notes[0]
    assert list(found.sets[0].names) == sorted(found.sets[0].names)


def test_names_that_are_not_unique_are_no_plan() -> None:
    assert not together([given("a", ["x.png", "x.jpg"]), given("b", ["x.png", "y.png"])]).paired


def test_several_sets_are_paired_together() -> None:
    found = together([given("a", names(5)), given("b", names(5)), given("c", names(5)[::-1])])
    assert found.paired and found.sets[2].names == tuple(names(5))
