"""Figures are PNG files of the size their content needs, whatever the content is."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from t2i.reporting import figures, style
from t2i.reporting.comparisons import separation
from t2i.reporting.curves import moving_mean

LONG = "a cat " * 60 + "supercalifragilisticexpialidocious" * 9
MARGINS = 2 * 28  # pixels


def pictures(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def opened(path) -> Image.Image:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.convert("RGB")


@pytest.mark.parametrize("count", [1, 2, 40, 100_000])
def test_loss_curve_takes_one_to_many_points(tmp_path, count):
    losses = np.random.default_rng(0).gamma(2.0, 0.1, count)
    path = figures.loss_curve(range(1, count + 1), losses, tmp_path / "new" / "loss.png", "Loss", [(1, 0.2)])
    assert opened(path).width == 1290  # 8.6 inches of 150 pixels


def test_loss_curve_marks_losses_that_are_not_finite(tmp_path):
    whole = opened(figures.loss_curve([1, 2, 3], [0.3, 0.2, 0.1], tmp_path / "a.png", "Loss"))
    broken = opened(figures.loss_curve([1, 2, 3], [0.3, np.nan, 0.1], tmp_path / "b.png", "Loss"))
    assert not np.array_equal(np.asarray(broken), np.asarray(whole))
    opened(figures.loss_curve([1], [np.inf], tmp_path / "c.png", "Loss"))


def test_loss_curve_without_points_says_what_it_needs(tmp_path):
    with pytest.raises(ValueError, match="found 2 steps and 1 losses"):
        figures.loss_curve([1, 2], [0.1], tmp_path / "loss.png", "Loss")


def test_moving_mean_is_centred_and_needs_no_start_up():
    values = np.array([0.0, 3.0, 6.0, 9.0])
    assert moving_mean(values, 1).tolist() == values.tolist()
    assert moving_mean(values, 3).tolist() == [1.5, 3.0, 6.0, 7.5]


def test_sample_grid_has_the_size_of_its_pictures(tmp_path):
    path = figures.sample_grid(pictures(7), ["a cat"] * 7, tmp_path / "grid.png", "Samples")
    assert opened(path).width == 5 * 192 + 4 * 14 + MARGINS  # 64 pixels are shown at three times their size


def test_pictures_are_shown_pixel_by_pixel(tmp_path):
    image = pictures(1, 256)
    page = np.asarray(opened(figures.sample_grid(image, ["noise"], tmp_path / "grid.png", "Noise")))
    top = 28 + 33 + 12  # margin, one line of 12 pt at 1.35 of 150 dpi, space below the heading
    assert np.array_equal(page[top + 2 : top + 254, 30 : 28 + 254], image[0, 2:254, 2:254])


@pytest.mark.parametrize("size", [8, 64, 100, 512])
def test_one_picture_with_an_endless_caption(tmp_path, size):
    path = figures.sample_grid(pictures(1, size), [LONG], tmp_path / "one.png", LONG, columns=3)
    assert opened(path).height < 256 + 5 * 26 + 3 * 34 + 120  # at most five lines below the picture, three above


def test_captions_stay_within_their_column():
    lines = style.wrap(LONG, 192, style.TEXT_SIZE)
    assert len(lines) == 5 and lines[-1].endswith("…")
    assert max(style.text_width(line, style.TEXT_SIZE) for line in lines) <= 192
    assert style.wrap("", 192, style.TEXT_SIZE) == [""]


def test_dollar_signs_and_angle_brackets_are_text(tmp_path):
    captions = ["$\\frac{1}{$ and $5", "<script>alert(1)</script>"]
    opened(figures.sample_grid(pictures(2), captions, tmp_path / "grid.png", "$\\frac{$"))


def test_pictures_of_another_kind_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"found float32 images of shape \(1, 8, 8, 3\)"):
        figures.sample_grid(np.zeros((1, 8, 8, 3), np.float32), ["a"], tmp_path / "grid.png", "Samples")
    with pytest.raises(ValueError, match="for 2 labels"):
        figures.sample_grid(pictures(1), ["a", "b"], tmp_path / "grid.png", "Samples")


@pytest.mark.parametrize(("count", "blocks"), [(1, 1), (6, 1), (7, 2)])
def test_base_versus_tuned_continues_below(tmp_path, count, blocks):
    captions = ["a cat"] * count
    two = opened(figures.base_versus_tuned(pictures(count), pictures(count), captions, tmp_path / "two.png", "Both"))
    three = opened(
        figures.base_versus_tuned(
            pictures(count), pictures(count), captions, tmp_path / "three.png", "All", real=pictures(count)
        )
    )
    assert three.height - two.height == blocks * (192 + 14)  # one more row in each block


def test_heat_map_hatches_failed_cells_and_frames_the_best(tmp_path):
    values = np.array([[30.0, np.nan], [25.0, 40.0]])
    drawn = {}
    for higher in (True, False):
        path = figures.heat_map(
            ["ddim", "euler"],
            ["5", "7.5"],
            values,
            tmp_path / "heat.png",
            "Sweep",
            "fid",
            higher,
            values - 1,
            values + 1,
        )
        pixels = np.asarray(opened(path)).astype(int)
        frame = np.argwhere(np.abs(pixels - (0xD5, 0x5E, 0x00)).sum(axis=-1) == 0)
        drawn[higher] = frame.mean(axis=0)  # row, column of the frame's middle
    assert drawn[True][1] > drawn[False][1]  # 40 is the best of higher-is-better, in the right column
    assert abs(drawn[True][0] - drawn[False][0]) < 5  # 25 is the best of lower-is-better, in the same row


@pytest.mark.parametrize("values", [np.full((1, 1), np.nan), np.full((3, 2), 7.0), np.ones((1, 9))])
def test_heat_map_without_contrast(tmp_path, values):
    rows, columns = [f"r{i}" for i in range(values.shape[0])], [f"c{i}" for i in range(values.shape[1])]
    opened(figures.heat_map(rows, columns, values, tmp_path / "heat.png", LONG, "clip_score", True))


def test_heat_map_refuses_values_that_do_not_fit_the_labels(tmp_path):
    with pytest.raises(ValueError, match=r"found values of shape \(2, 2\); expected \(1, 2\)"):
        figures.heat_map(["a"], ["b", "c"], np.zeros((2, 2)), tmp_path / "heat.png", "Sweep", "fid", False)


def test_cell_grid_hatches_failed_cells(tmp_path):
    images = np.zeros((2, 3, 64, 64, 3), np.uint8)
    failed = np.array([[False, True, False], [False, False, False]])
    names = ["ddim", "euler"], ["1", "5", "7.5"]
    whole = np.asarray(opened(figures.cell_grid(*names, images, tmp_path / "a.png", "Cells")))
    broken = np.asarray(opened(figures.cell_grid(*names, images, tmp_path / "b.png", "Cells", failed)))
    black = [(pixels == 0).all(axis=-1).sum() for pixels in (whole, broken)]
    assert 188**2 < black[0] - black[1] <= 192**2  # one cell less, up to its frame
    with pytest.raises(ValueError, match=r"expected \(1, 3, H, W, 3\)"):
        figures.cell_grid(["ddim"], names[1], images, tmp_path / "c.png", "Cells")


def test_separation_counts_pairs():
    assert separation(np.array([0.9, 0.5]), np.array([0.1, 0.5])) == 3.5 / 4  # three wins and one tie


@pytest.mark.parametrize(("matched", "random"), [([0.9, 0.8, np.nan], [0.1]), ([0.7], []), ([], [])])
def test_similarity_histogram_takes_few_pairs(tmp_path, matched, random):
    opened(figures.similarity_histogram(np.array(matched), np.array(random), tmp_path / "s.png", "Similarity"))


@pytest.mark.parametrize("memory", [900.0, 24_000.0, float("nan")])
def test_training_resources_takes_one_point_and_no_memory_reading(tmp_path, memory):
    opened(figures.training_resources([1], [3.5], [memory], tmp_path / "r.png", "Cost"))


def test_samples_over_training_shows_the_first_and_the_last_of_many(tmp_path):
    images = np.stack([pictures(2) for _ in range(30)])
    scores = [(20.0 + i, 19.0 + i, 21.0 + i) for i in range(30)]
    path = figures.samples_over_training(range(0, 3000, 100), images, ["a cat", LONG], scores, tmp_path / "a.png", "T")
    assert opened(path).height > 8 * 192 and opened(path).height < 9 * (192 + 14) + 300
    with pytest.raises(ValueError, match=r"expected \(3, 2, H, W, 3\)"):
        figures.samples_over_training([0, 1, 2], images, ["a cat", "b"], scores, tmp_path / "b.png", "T")


def test_columns_are_as_wide_as_their_pictures_and_a_missing_interval_is_left_out(tmp_path):
    images = np.stack([pictures(3), pictures(3)])
    means = np.array([[30.0, 28.0, 32.0], [31.0, np.nan, np.nan], [np.nan, np.nan, np.nan]])
    path = figures.column_comparison(
        ["a cat", LONG], ["guidance 1", "guidance 3", "guidance 5"], images, np.full((2, 3), 30.0), means,
        tmp_path / "columns.png", "Guidance", "Below a picture its score.", "CLIP score", marked=1,
    )  # fmt: skip
    assert opened(path).width == 190 + 14 + 3 * 192 + 2 * 14 + MARGINS
    with pytest.raises(ValueError, match="for 2 prompts and 2 columns"):
        figures.column_comparison(
            ["a", "b"], ["x", "y"], images, np.zeros((2, 2)), means, tmp_path / "no.png", "", "", ""
        )


@pytest.mark.parametrize("count", [1, 6, 9])
def test_loss_and_samples_shows_six_pictures_at_most(tmp_path, count):
    path = figures.loss_and_samples(
        [1, 2, 3], [0.3, np.nan, 0.1], pictures(count), [LONG] * count, tmp_path / "both.png", "Both"
    )
    assert opened(path).width == 1290
    with pytest.raises(ValueError, match="found 2 steps and 1 losses"):
        figures.loss_and_samples([1, 2], [0.1], pictures(1), ["a"], tmp_path / "no.png", "Both")


def stars(tmp_path, values, **more) -> int:
    """Orange pixels of a heat map: the frame of the best cell, and dashed frames of those tied with it."""
    names = [f"r{n}" for n in range(len(values))], [f"c{n}" for n in range(len(values[0]))]
    path = figures.heat_map(*names, np.array(values), tmp_path / "heat.png", "Sweep", "kid", False, **more)
    return int((np.abs(np.asarray(opened(path)).astype(int) - (0xD5, 0x5E, 0x00)).sum(axis=-1) == 0).sum())


def test_a_heat_map_gives_no_star_to_noise(tmp_path):
    values = np.array([[-0.02, 0.02], [0.12, 2.2]])
    assert stars(tmp_path, values) == 0  # seconds a picture, without an interval
    assert stars(tmp_path, values, low=values - 0.4, high=values + 0.4) == 0  # KID -0.02 [-0.42, 0.38]
    assert stars(tmp_path, values, low=values - 0.01, high=values + 0.01) > 1000
    one, every = np.eye(2, dtype=bool), np.ones((2, 2), bool)
    assert stars(tmp_path, values, tied=every) == 0
    assert stars(tmp_path, values, tied=one) > 1000
    assert stars(tmp_path, np.array([[1.0]])) == 0  # the best of one


def drawn(monkeypatch, draw) -> Figure:
    """The figure that a function hands over to be saved."""
    kept = []
    monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure) or path)
    draw()
    return kept[0]


def test_no_line_joins_names_without_an_order(tmp_path, monkeypatch):
    found = {
        "scheduler": {"ddim": (1.0, 0.0, 2.0), "euler": (2.0, 1.0, 3.0)},
        "cfg.scale": {"5.0": (1.0, 0.0, 2.0), "7.5": (2.0, 1.0, 3.0)},
    }
    figure = drawn(monkeypatch, lambda: figures.effects(found, tmp_path / "e.png", "T", "clip_score[tiny_clip]"))
    widths = [axes.get_lines()[0].get_linewidth() for axes in figure.axes]
    assert widths == [0.0, 1.6]
    assert figure.axes[0].get_ylabel() == "CLIP score (tiny_clip)"
    assert figure.axes[1].get_xlabel() == "guidance scale"


def overlapping(texts) -> list[tuple[str, str]]:
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if one.overlaps(other)]


@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_names_on_the_front_cover_nothing(tmp_path, monkeypatch, spread):
    x = 0.2 + spread * np.random.default_rng(0).uniform(0, 0.02, 10)
    names = [f"scheduler=dpmpp_2m_karras, cfg.scale={n}" for n in range(10)]
    figure = drawn(
        monkeypatch,
        lambda: figures.front(names, x, np.sort(x), [True] * 10, tmp_path / "f.png", "T", ("seconds_per_image", "y")),
    )
    figure.draw_without_rendering()
    assert [text.get_text() for text in figure.axes[0].texts] == names
    assert overlapping(figure.axes[0].texts) == []


@pytest.mark.parametrize("name", ["effects", "heat_map", "drift_matrix"])
def test_long_names_below_columns_do_not_run_into_each_other(tmp_path, monkeypatch, name):
    names = [f"scheduler=dpmpp_2m_sde_{n}" for n in range(5)]
    values, path = np.arange(5.0).reshape(1, 5), tmp_path / "x.png"
    draw = {
        "effects": lambda: figures.effects({"scheduler": dict.fromkeys(names, (1.0, 0.0, 2.0))}, path, "T", "y"),
        "heat_map": lambda: figures.heat_map(["a"], names, values, path, "T", "fid", True),
        "drift_matrix": lambda: figures.drift_matrix(
            ["a"], names, values, values, values, values > 1, path, "T", "y", "s"
        ),
    }[name]
    figure = drawn(monkeypatch, draw)
    figure.draw_without_rendering()
    labels = figure.axes[0].get_xticklabels()
    ends = [label.get_window_extent().x1 for label in labels]
    assert {label.get_rotation() for label in labels} == {30.0}
    assert all(right - left > 1.2 * style.line_height(style.TEXT_SIZE) for left, right in itertools.pairwise(ends))
    assert min(label.get_window_extent().y0 for label in labels) >= 0
