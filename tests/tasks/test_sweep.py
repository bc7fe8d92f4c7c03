"""A sweep goes on after a failure, and never measures a cell twice."""

import pytest

from ..conftest import SCENES, TOY, Ended, Lab

FAILING = [*SCENES, *TOY, "task=sweep", "sweeps=guidance", "sweeps.space={cfg.scale:[1.0,1000.0,5.0]}"]


@pytest.fixture(scope="module")
def swept(lab: Lab, main_job: Ended) -> Ended:
    """One of the three cells cannot be measured."""
    return lab.here(*FAILING)


def test_a_failing_cell_is_recorded_and_the_others_go_on(swept: Ended) -> None:
    assert (swept.metrics["cells"], swept.metrics["new_cells"]) == (3, 2)
    log = (swept.folder / "run.log").read_text()
    assert "cfg.scale=1000.0 is not between 0 and 100" in log
    (section,) = swept.json("sections.json")
    assert [row[0] for row in section["tables"][0]["rows"]] == ["1.0", "1000.0", "5.0"]
    assert set(section["tables"][0]["rows"][1][1:]) == {"failed"}
    assert (swept.folder / "figures" / "heat_map_clip_score.png").exists()


def test_only_the_failed_cell_is_tried_again(lab: Lab, swept: Ended) -> None:
    again = lab.here(*FAILING)
    assert (again.metrics["cells"], again.metrics["new_cells"]) == (3, 0)
    assert "built " not in again.out
    best = {name: value for name, value in again.metrics.items() if name.startswith("best.")}
    assert best == {name: value for name, value in swept.metrics.items() if name.startswith("best.")}


def test_a_cell_is_known_to_a_sweep_whose_space_grew(lab: Lab, swept: Ended) -> None:
    arguments = ["sweeps=guidance", "sweeps.space={cfg.scale:[1.0,5.0,10.0]}"]
    grown = lab.here(*SCENES, *TOY, "task=sweep", *arguments)
    assert (grown.metrics["cells"], grown.metrics["new_cells"]) == (3, 1)


def test_a_sweep_of_which_every_cell_fails_fails(lab: Lab, main_job: Ended) -> None:
    arguments = ["sweeps=guidance", "sweeps.space={cfg.scale:[1000.0]}"]
    ended = lab.here(*SCENES, *TOY, "task=sweep", *arguments)
    assert ended.status == 1
    assert "every cell of sweeps=guidance failed" in ended.err


def test_a_metric_that_is_not_measured_is_named_with_those_that_are(lab: Lab, main_job: Ended) -> None:
    ended = lab.here(
        *SCENES, *TOY, "task=sweep", "sweeps=guidance", "sweeps.metric=fdi", "sweeps.space={cfg.scale:[1.0]}"
    )
    assert ended.status == 1
    assert "sweeps.metric=fdi was not measured" in ended.err + (ended.folder / "run.log").read_text()
