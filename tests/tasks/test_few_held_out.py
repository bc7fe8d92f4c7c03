"""One held-out picture or none: what can be done is done, and what is not measured is said."""

from pathlib import Path

import pytest

from ..conftest import Lab
from .test_prepare import noise

SMALL = ["training.steps=2", "training.batch_size=2", "training.export_pipeline=false", "scheduler.steps=2"]


@pytest.fixture
def where(tmp_path: Path) -> list[str]:
    for number in range(5):
        path = tmp_path / f"data/{'test' if number == 4 else 'train'}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(number).save(path)
        path.with_suffix(".txt").write_text(f"picture {number}")
    return ["dataset=folder", f"dataset.root={tmp_path}/data", "dataset.resolution=64"]


def test_training_without_a_held_out_picture_says_what_it_does_not_measure(empty_lab: Lab, where: list[str]) -> None:
    ended = empty_lab.here("task=train", *where, *SMALL, "dataset.held_out=0")
    assert ended.status == 0, ended.err
    assert "2 steps; the held-out loss was not measured, as there is no held-out picture; " in ended.out
    assert " nan" not in ended.out
    numbers = ended.metrics
    assert not [name for name in numbers if name.startswith("held_out_loss")] and numbers["steps"] == 2
    assert not (ended.folder / "validation").exists()


@pytest.mark.parametrize(("count", "there"), [(0, "there are 0"), (1, "there is 1")])
def test_a_pipeline_leaves_out_what_it_cannot_measure(empty_lab: Lab, where: list[str], count: int, there: str) -> None:
    ended = empty_lab.here(*where, *SMALL, f"dataset.held_out={count}", "parts=[data,compare,sweep]")
    assert ended.status == 0, ended.err
    for part in ("pictures and numbers, base and tuned", "sweep"):
        assert f"Not measured: {part} needs 2 held-out pictures, and {there};" in ended.out
    titles = [section["title"] for section in ended.json("sections.json")]
    assert {"Pictures and numbers, base and tuned", "Sweep"} <= set(titles)


@pytest.mark.parametrize("task", ["evaluate", "generate"])
def test_captions_that_are_not_there_are_told_with_what_helps(empty_lab: Lab, where: list[str], task: str) -> None:
    ended = empty_lab.here(f"task={task}", *where, "dataset.held_out=0")
    assert ended.status == 2
    assert "held-out captions are needed and 0 are there; use more data, or a larger dataset.held_out" in ended.err
