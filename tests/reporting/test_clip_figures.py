"""Figures about a CLIP: states of a model, matrices, the way between two sets of weights."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i.reporting.before_after import before_after
from t2i.reporting.blend import blend_curves
from t2i.reporting.matrix import matrices


def drawn(path: Path) -> tuple[int, int]:
    """Width and height of a picture that holds more than paper."""
    with Image.open(path) as image:
        assert len(set(np.asarray(image.convert("L")).ravel().tolist())) > 20
        return image.size


def test_states_side_by_side(tmp_path: Path) -> None:
    two = {"before": [(10.0, 8.0, 12.0), (50.0, 40.0, 60.0)], "after": [(80.0, 78.0, 82.0), (100.0, 100.0, 100.0)]}
    first = drawn(before_after(["recall", "accuracy"], two, tmp_path / "two.png", "title", "percent"))
    three = {**two, "as it came": [(90.0, 88.0, 92.0)] * 2}
    assert drawn(before_after(["recall", "accuracy"], three, tmp_path / "three.png", "title", "percent"))[1] > first[1]
    with pytest.raises(ValueError, match="after has 1 numbers for 2 rows"):
        before_after(["a", "b"], {**two, "after": [(1.0, 1.0, 1.0)]}, tmp_path / "no.png", "title", "percent")


def test_matrices_of_few_and_of_many_classes(tmp_path: Path) -> None:
    for count in (3, 30):
        names = [f"class {k}" for k in range(count)]
        values = np.eye(count) * 100
        values[0] = np.nan  # a class without pictures
        panels = {"before": values, "after": values}
        drawn(matrices(panels, names, names, tmp_path / f"{count}.png", "title", "percent", ("true", "read")))
    names = ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"shape \(2, 2\); expected \(3, 3\)"):
        matrices({"": np.eye(2)}, names, names, tmp_path / "no.png", "title", "percent", ("true", "read"))


def test_the_way_between_two_sets_of_weights(tmp_path: Path) -> None:
    curves = {"here": np.array([[10, 8, 12], [50, 45, 55.0]]), "elsewhere": np.array([[90, 88, 92], [20, 15, 25.0]])}
    drawn(blend_curves([0.0, 1.0], curves, tmp_path / "blend.png", "title", "percent"))
