"""The border that every figure passes: what is drawn from the same is the same figure, and anything else is another."""

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from t2i.config import compose
from t2i.context import Run
from t2i.reporting import figures
from t2i.reporting.figures import MODULES, Drawing
from t2i.reporting.shown import Change
from t2i.stages import figure
from t2i.store import Store

REPORTING = Path(figures.__file__).parent


def test_every_figure_is_in_the_table_and_no_module_of_them_is_imported_elsewhere() -> None:
    styled = {
        path.stem: sorted(
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and any("styled" in ast.unparse(own) for own in node.decorator_list)
        )
        for path in REPORTING.glob("*.py")
    }
    assert {name: found for name, found in styled.items() if found} == {k: sorted(v) for k, v in MODULES.items()}
    assert sorted(figures.__all__) == sorted(name for own in MODULES.values() for name in own)
    drawing = {f"t2i.reporting.{name}" for name in (*MODULES, "style", "fonts", "page")}
    for path in REPORTING.parent.rglob("*.py"):
        if path.parent != REPORTING:
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            named = {node.module for node in tree if isinstance(node, ast.ImportFrom)}
            assert not named & drawing, f"{path} draws past t2i.reporting.figures"
    with pytest.raises(AttributeError, match="no figure pie"):
        _ = figures.pie


CHANGE = Change("FID", -1.0, -2.0, 0.5, 1.5, "better", False)
SAME = ([1, 2], np.arange(6.0).reshape(2, 3), "A title", Path("a.png"), {"x": CHANGE}, None, float("nan"))
OTHER = {
    "a number": ([1, 3], *SAME[1:]),
    "a number's type": ([1, 2.0], *SAME[1:]),
    "their order": ([2, 1], *SAME[1:]),
    "an array": (SAME[0], SAME[1] + 1e-9, *SAME[2:]),
    "its type": (SAME[0], SAME[1].astype(np.float32), *SAME[2:]),
    "its shape": (SAME[0], SAME[1].reshape(3, 2), *SAME[2:]),
    "a text": (*SAME[:2], "A  title", *SAME[3:]),
    "a name": (*SAME[:4], {"y": CHANGE}, *SAME[5:]),
    "a field": (*SAME[:4], {"x": dataclasses.replace(CHANGE, low=-3.0)}, *SAME[5:]),
    "nothing": (*SAME[:5], 0, SAME[6]),
}


@pytest.mark.parametrize("changed", OTHER)
def test_what_a_figure_is_drawn_from_is_in_its_digest(changed: str) -> None:
    assert Drawing("heat_map", OTHER[changed], {}).digest != Drawing("heat_map", SAME, {}).digest


def test_a_path_and_the_kind_of_a_sequence_are_not() -> None:
    moved = ((1, np.int64(2)), SAME[1].copy(order="F"), SAME[2], Path("b.png"), *SAME[4:])
    assert Drawing("heat_map", moved, {"low": 1}).digest == Drawing("heat_map", SAME, {"low": 1}).digest
    assert Drawing("heat_map", SAME, {"low": 1}).digest != Drawing("heat_map", SAME, {"high": 1}).digest
    with pytest.raises(TypeError, match="drawn from a object, of which there is no digest"):
        _ = Drawing("heat_map", (object(),), {}).digest
    assert sorted(Drawing("heat_map", SAME, {}).texts) == sorted("A title" + "x" + "FID" + "better")


def test_a_figure_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    original = Drawing.draw

    def draw(self: Drawing, path: Path) -> Path:
        drawn.append(self.name)
        return original(self, path)

    monkeypatch.setattr(Drawing, "draw", draw)
    config, told = compose([]), []
    for name in ("one", "two"):
        run = Run(tmp_path / name, Store(tmp_path / "store"))
        with figure.keeping(config, run):
            told.append(figures.loss_curve([1, 2], [0.5, 0.25], run.figures() / f"{name}.png", "Loss"))
    assert told == [tmp_path / "one" / "figures" / "one.png", tmp_path / "two" / "figures" / "two.png"]
    assert told[0].read_bytes() == told[1].read_bytes() and drawn == ["loss_curve"]
    assert run.stages == {}, "what a run found does not hang on its figures"
    with figure.keeping(config, run):
        figures.loss_curve([1, 2], [0.5, 0.25], run.figures() / "other.png", "Another title")
    figures.loss_curve([1, 2], [0.5, 0.25], tmp_path / "alone.png", "Loss")  # nobody keeps it
    assert drawn == ["loss_curve"] * 3


def test_a_figure_is_drawn_again_when_its_look_or_its_letters_may_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = Run(tmp_path, Store(tmp_path / "store")), compose([])

    def digests() -> list[str]:
        drawings = [Drawing("loss_curve", ([1], [0.5], tmp_path / "a.png", title), {}) for title in ("Loss", "損失")]
        return [run.store.path("figure", *figure.Figure(config, own).address(run), 1).name for own in drawings]

    plain, letters = digests()
    monkeypatch.setattr(figure, "installed_fonts", lambda: "one more font")
    assert digests()[0] == plain and digests()[1] != letters
    monkeypatch.setattr(figure, "drawn_by", lambda: "other code")
    assert digests()[0] != plain
