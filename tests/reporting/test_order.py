"""The page answers first: sections come in the reader's order, and what a reader of three minutes skips is folded."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import t2i
from t2i.reporting.order import ALL, KINDS, open_parts, ordered, place
from t2i.reporting.report import Section

from ..conftest import PROJECT


def told() -> Iterator[tuple[str, str]]:
    """Every title that the code gives to a section, with its file; of f-strings the beginning."""
    for path in sorted(Path(t2i.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        known = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "section":
                for title in _texts(node.args[0], known):
                    yield title, path.relative_to(PROJECT).as_posix()


def _texts(node: ast.expr, known: dict[str, ast.expr]) -> list[str]:
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return _texts(node.values[0], known)
    if isinstance(node, ast.Name):
        return _texts(known[node.id], known) if node.id in known else []  # an argument: its callers are not followed
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        titles = known.get(node.value.id)
        return (
            [text for value in titles.values for text in _texts(value, known)] if isinstance(titles, ast.Dict) else []
        )
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "capitalize":
        return [text.capitalize() for text in _texts(node.func.value, known)]
    return []


TOLD = sorted(set(told()))


def test_the_titles_are_found():
    assert {"Sweep", "Training", "Data", "Wiring", "Guidance scales", "Drift: "} <= {title for title, _ in TOLD}


@pytest.mark.parametrize(("title", "file"), TOLD)
def test_every_section_of_the_project_has_its_place(title, file):
    assert place(title)[0] < len(KINDS), f"{file} tells {title!r}, which t2i/reporting/order.py does not know"


def test_verdict_pictures_training_sweep_data_checks():
    asked = [
        "Data",
        "Wiring",
        "Anything",
        "Sweep",
        "While it trained",
        "Training",
        "Samples and numbers",
        "Base against tuned",
    ]
    assert [section.title for section in ordered([Section(title) for title in asked])] == [
        *("Base against tuned", "Samples and numbers", "Training", "While it trained", "Sweep", "Data", "Wiring"),
        "Anything",
    ]


def test_sections_of_several_runs_stay_beside_each_other():
    asked = [f"{title} ({run})" for run in ("a", "b") for title in ("Training", "Comparison")]
    assert [section.title for section in ordered([Section(title) for title in asked])] == [
        *("Comparison (a)", "Comparison (b)", "Training (a)", "Training (b)")
    ]


def test_short_pages_and_unknown_sections_are_not_folded():
    assert open_parts("Data", 1) == open_parts("Data", 2) == open_parts("Anything", 9) == (ALL, ALL)
    assert open_parts("Data", 3) == (0, 0)
    assert open_parts("Base against tuned", 9) == (1, 2)
    assert open_parts("While it trained", 9) == (0, 0)
