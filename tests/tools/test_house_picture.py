"""The picture in docs/architecture.md is of the house as it is: its storeys, rooms and who imports whom."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tools.house import PICTURE, Room, Storey, drawn, house, plan, told

CONTRACT = """
[[tool.importlinter.contracts]]
layers = ["t2i.tasks : t2i.plan", "t2i.data | t2i.models", "t2i.errors"]
"""
SOURCES = {
    "__init__": "", "tasks/__init__": "", "tasks/one": "import t2i.plan", "plan": "from t2i.data import base",
    "data/__init__": "", "data/base": "", "data/files/__init__": "", "data/files/csv": "a = 1\nb = 2",
    "data/sources/__init__": "", "data/sources/coco": "def f():\n    from t2i.data.files import csv", "models": "", "errors": "",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(CONTRACT)
    for name, text in SOURCES.items():
        (tmp_path / "t2i" / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t2i" / f"{name}.py").write_text(text)
    return tmp_path


def test_the_picture_is_of_the_house_as_it_is() -> None:
    assert told(PICTURE.read_text(encoding="utf-8")) == plan(house()), "run python -m tools.house"


def test_rooms_lie_in_the_storeys_of_the_contract_with_what_is_in_them(project: Path) -> None:
    data = Room("data", 3, 4, (Room("data.files", 1, 2), Room("data.sources", 1, 2)), ("sources → files",))
    assert house(project) == [
        Storey((Room("tasks", 1, 1), Room("plan", 1, 1)), True),
        Storey((data, Room("models", 1, 0)), False),
        Storey((Room("errors", 1, 0),), False),
    ]


@pytest.mark.parametrize(("layers", "lost"), [("t2i.tasks", "t2i.models"), ("t2i : t2i.data", "t2i.data.base")])
def test_a_module_without_one_storey_is_named(project: Path, layers: str, lost: str) -> None:
    (project / "pyproject.toml").write_text(f'[[tool.importlinter.contracts]]\nlayers = ["{layers}"]')
    with pytest.raises(ValueError, match=lost):
        house(project)


def test_the_picture_names_every_room_inside_its_width(project: Path) -> None:
    picture = ElementTree.fromstring(drawn(house(project)))
    texts = [(element.text, float(element.get("x", 0))) for element in picture.iter() if element.tag.endswith("text")]
    assert {"tasks", "plan", "data", "files 1 · sources 1", "sources → files", "models", "errors"} <= {
        t for t, _ in texts
    }
    boxes = [element for element in picture.iter() if element.tag.endswith("rect") and element.get("x")]
    assert all(float(box.get("x", 0)) + float(box.get("width", 0)) <= float(picture.get("width", 0)) for box in boxes)
    assert told(drawn(house(project))) == plan(house(project))
