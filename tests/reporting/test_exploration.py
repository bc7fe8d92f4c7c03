"""Figures about a data set take from one picture to a hundred thousand, and mark what a reader must not miss."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from t2i.reporting import figures, style
from t2i.reporting.exploration import _percent, _quantile
from t2i.reporting.shown import fitted

WIDTH = 1290  # 8.6 inches of 150 pixels


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def having(path: Path, colour: str) -> int:
    """Pixels of exactly that colour."""
    return int((pixels(path) == np.rint(np.array(to_rgb(colour)) * 255)).all(axis=-1).sum())


@pytest.mark.parametrize("count", [1, 12, 200])
def test_pictures_by_group_draws_the_largest(tmp_path: Path, count: int) -> None:
    names = [f"group {i} with a name that is longer than its place" for i in range(count)]
    path = figures.pictures_by_group(names, range(count), [0] * count, tmp_path / "g.png", "Groups", "groups")
    assert pixels(path).shape[1] == WIDTH
    assert pixels(path).shape[0] < 2500  # forty groups at most


def test_pictures_by_group_without_any_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 0 names"):
        figures.pictures_by_group([], [], [], tmp_path / "g.png", "Groups", "groups")
    with pytest.raises(ValueError, match="found 2 names for 1 counts"):
        figures.pictures_by_group(["a", "b"], [1], [1], tmp_path / "g.png", "Groups", "groups")


def test_captions_beyond_the_limit_are_drawn_in_another_colour(tmp_path: Path) -> None:
    tokens = {8: 100, 12: 60, 20: 40}
    whole = having(figures.caption_lengths({5: 200}, tokens, 20, tmp_path / "whole.png", "Lengths"), style.TUNED)
    cut = having(figures.caption_lengths({5: 200}, tokens, 19, tmp_path / "cut.png", "Lengths"), style.TUNED)
    assert cut > whole + 500  # the bar of the forty captions, beside the line and the word for the limit


def test_one_endless_caption_does_not_flatten_the_others(tmp_path: Path) -> None:
    plain = figures.caption_lengths({9: 500, 10: 500}, {}, 0, tmp_path / "a.png", "Lengths")
    endless = figures.caption_lengths({9: 500, 10: 500, 19_000: 1}, {}, 0, tmp_path / "b.png", "Lengths")
    bars = [np.where((pixels(path) == (0x00, 0x79, 0x5A)).all(axis=-1).any(axis=0))[0] for path in (plain, endless)]
    assert np.ptp(bars[1]) > 0.6 * np.ptp(bars[0])
    with pytest.raises(ValueError, match="found no caption"):
        figures.caption_lengths({}, {}, 77, tmp_path / "c.png", "Lengths")


@pytest.mark.parametrize("counts", [{1: 1}, {5: 117_000, 6: 1_200, 7: 3}, dict.fromkeys(range(300), 1)])
def test_captions_per_picture(tmp_path: Path, counts: dict[int, int]) -> None:
    assert pixels(figures.captions_per_picture(counts, tmp_path / "c.png", "Captions")).shape[1] == WIDTH


def test_word_frequencies_take_one_word_and_a_hundred(tmp_path: Path) -> None:
    one = figures.word_frequencies(["cat"], [1], 1, tmp_path / "one.png", "Words")
    many = figures.word_frequencies(
        [f"w{i}" for i in range(100)], [100 - i for i in range(100)], 5000, tmp_path / "m.png", "W"
    )
    assert pixels(one).shape[0] < pixels(many).shape[0] < 1300  # thirty words at most
    with pytest.raises(ValueError, match="found 1 words for 2 counts"):
        figures.word_frequencies(["cat"], [1, 2], 5, tmp_path / "x.png", "Words")


@pytest.mark.parametrize("sizes", [[(64, 64, 1)], [(640, 480, 9), (480, 640, 5), (20, 4000, 1)], [(1, 1, 1)]])
def test_source_sizes_take_one_size_and_extreme_ones(tmp_path: Path, sizes: list[tuple[int, int, int]]) -> None:
    assert pixels(figures.source_sizes(np.array(sizes), 256, tmp_path / "s.png", "Sizes")).shape[1] == WIDTH


def test_a_share_is_never_rounded_to_nothing_or_to_everything() -> None:
    assert [_percent(part, 100_000) for part in (0, 1, 100, 99_999, 100_000)] == [
        "0 %",
        "< 0.1 %",
        "0.1 %",
        "> 99.9 %",
        "100 %",
    ]


def test_a_quantile_of_counts_is_that_of_the_values() -> None:
    values, counts = np.array([2, 5, 9]), np.array([3, 4, 3])
    assert [_quantile(values, counts, q) for q in (0.0, 0.3, 0.31, 0.5, 0.7, 0.71, 1.0)] == [2, 2, 5, 5, 5, 9, 9]


def test_a_contact_sheet_shows_each_picture_whole(tmp_path: Path) -> None:
    red = np.full((96, 96, 3), (200, 0, 0), np.uint8)
    wide = np.full((50, 100, 3), (0, 0, 200), np.uint8)
    page = pixels(figures.contact_sheet({"reds": [red] * 11, "wide": [wide], "none": []}, tmp_path / "c.png", "Sheet"))
    assert page.shape[1] == 10 * (96 + 6) - 6 + 2 * 28
    area = [(page == colour).all(axis=-1).sum() for colour in ((200, 0, 0), (0, 0, 200))]
    assert 11 * 92**2 < area[0] <= 11 * 96**2  # up to their frames
    assert 92 * 44 < area[1] <= 96 * 48  # half as high as wide
    with pytest.raises(ValueError, match="found no picture"):
        figures.contact_sheet({"none": []}, tmp_path / "n.png", "Sheet")


def test_fitted_pictures_keep_their_shape() -> None:
    tall = np.full((200, 100, 3), 7, np.uint8)
    square = fitted(tall, 50)
    assert square.shape == (50, 50, 3)
    assert (square == 7).all(axis=(0, 2)).tolist() == [False] * 12 + [True] * 25 + [False] * 13
    same = np.zeros((50, 50, 3), np.uint8)
    assert fitted(same, 50) is same


def test_pairs_stand_side_by_side(tmp_path: Path) -> None:
    left, right = (np.full((64, 64, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    label = "a/very/long/name-of-a-file-without-any-space" * 3
    page = pixels(figures.picture_pairs([(left, right, label)] * 4, tmp_path / "p.png", "Pairs", "Four of them"))
    middle = [np.argwhere((page == colour).all(axis=-1)).mean(axis=0) for colour in ((200, 0, 0), (0, 0, 200))]
    assert middle[1] - middle[0] == pytest.approx([0, 166], abs=1)  # 160 pixels and the space between
    with pytest.raises(ValueError, match="found no pair"):
        figures.picture_pairs([], tmp_path / "n.png", "Pairs", "None")


@pytest.mark.parametrize("groups", [[""] * 30, ["a", "b", "c"] * 10, [f"group {i}" for i in range(30)]])
def test_projection_takes_no_group_and_more_than_it_has_colours(tmp_path: Path, groups: list[str]) -> None:
    points = np.random.default_rng(0).normal(size=(30, 2))
    assert pixels(figures.projection(points, groups, [0.4, 0.1], tmp_path / "p.png", "Plane")).shape[1] == WIDTH
    with pytest.raises(ValueError, match="found 30 points and 1 names"):
        figures.projection(points, ["a"], [0.4, 0.1], tmp_path / "q.png", "Plane")
