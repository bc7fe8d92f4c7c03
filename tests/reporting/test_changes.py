"""Figures of changes: better is to the right whatever the metric's direction, and drift has a sign."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from t2i.reporting import style
from t2i.reporting.figures import changes, drift_matrix
from t2i.reporting.shown import Change


def middle(path: Path, colour: str) -> float:
    """Mean column of the pixels of this colour, as a share of the figure's width; the text at the right left out."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    pixels = pixels[:, : int(0.7 * pixels.shape[1])]
    return float(np.nonzero((pixels == ImageColor.getrgb(colour)).all(axis=2))[1].mean() / pixels.shape[1])


def test_a_fall_of_fid_is_drawn_where_a_rise_of_the_clip_score_is(tmp_path: Path) -> None:
    fall = Change("fid", -2.0, -3.0, -1.0, 1.5, "better", False)
    rise = Change("clip_score", 2.0, 1.0, 3.0, 1.5, "better", True)
    loss = Change("clip_score", -2.0, -3.0, -1.0, 1.5, "worse", True)
    first, second, third = (changes([row], tmp_path / f"{i}.png", "T", "") for i, row in enumerate([fall, rise, loss]))
    assert middle(first, style.REAL) == pytest.approx(middle(second, style.REAL), abs=0.1)
    assert middle(third, style.TUNED) < middle(second, style.REAL) - 0.2


def test_equal_sets_are_drawn_at_zero_and_no_row_is_refused(tmp_path: Path) -> None:
    changes([Change("fid", 0.0, 0.0, 0.0, 0.0, "cannot tell", False)], tmp_path / "zero.png", "T", "")
    with pytest.raises(ValueError, match="found no change"):
        changes([], tmp_path / "none.png", "T", "")


def test_a_gain_and_a_loss_have_unlike_colours_and_shapes_are_checked(tmp_path: Path) -> None:
    values, clear = np.array([[4.0, -4.0]]), np.array([[True, False]])
    labels = (["tuned on a"], ["on a", "on b"])
    path = drift_matrix(*labels, values, values - 1, values + 1, clear, tmp_path / "drift.png", "T", "change", "")
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    row = pixels[int(0.5 * pixels.shape[0])]
    purple, orange = row[:, 2] - row[:, 0], row[:, 0] - row[:, 2]
    assert purple.max() > 30 and orange.max() > 30
    assert np.flatnonzero(purple > 30).min() < np.flatnonzero(orange > 30).min()
    with pytest.raises(ValueError, match=r"expected \(1, 2\)"):
        drift_matrix(*labels, values.T, values, values, clear, tmp_path / "x.png", "T", "change", "")
