"""Every cell of a grid is measured once, in order, however often the command is repeated or interrupted."""

import logging
from pathlib import Path

import optuna
import pytest

from t2i.context import Interrupted
from t2i.sweeps.config import Direction, Sweep
from t2i.sweeps.driver import Cell, cells, run_grid

METRIC = "clip_score[tiny_clip]"
GRID = [
    {"scheduler": "ddim", "cfg.scale": 5.0},
    {"scheduler": "ddim", "cfg.scale": 7.5},
    {"scheduler": "euler", "cfg.scale": 5.0},
    {"scheduler": "euler", "cfg.scale": 7.5},
]


class Measure:
    """Scores cells by their guidance scale, remembers what was asked, and fails where it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Cell, bool]] = []
        self.failing: dict[str, BaseException] = {}

    def __call__(self, cell: Cell, known: bool) -> dict[str, float]:
        self.asked.append((cell, known))
        if cell["scheduler"] in self.failing:
            raise self.failing[cell["scheduler"]]
        return {METRIC: 10 * cell["cfg.scale"] + len(cell["scheduler"]), "fid[tiny_clip]": 1.0}

    def new(self) -> list[Cell]:
        """The cells that were asked for as unknown since the last call."""
        asked, self.asked = self.asked, []
        return [cell for cell, known in asked if not known]


@pytest.fixture
def measure() -> Measure:
    return Measure()


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sweeps.db'}"


def sweep(schedulers: list[str] | None = None, scales: list[float] | None = None, **options: object) -> Sweep:
    space = {"scheduler": schedulers or ["ddim", "euler"], "cfg.scale": scales or [5.0, 7.5]}
    return Sweep(name="test", space=space, metric=METRIC, **options)  # type: ignore[arg-type]


def studies(storage: str) -> list[optuna.Study]:
    return [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]


def test_cells_come_in_grid_order_with_the_last_key_fastest() -> None:
    assert cells({"scheduler": ["ddim", "euler"], "cfg.scale": [5.0, 7.5]}) == GRID
    assert cells({"a": [1]}) == [{"a": 1}]


def test_every_cell_is_measured_once_and_recorded(storage: str, measure: Measure) -> None:
    results = run_grid(sweep(), storage, "test-0", measure)
    assert [cell for cell, _ in results] == GRID == measure.new()
    assert [numbers[METRIC] for _, numbers in results] == [54.0, 79.0, 55.0, 80.0]
    (study,) = studies(storage)
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    assert study.best_params == {"scheduler": "euler", "cfg.scale": 7.5} and study.best_value == 80.0
    assert [trial.user_attrs["fid[tiny_clip]"] for trial in study.trials] == [1.0] * 4


def test_a_repeated_grid_measures_nothing_new_and_returns_the_same(storage: str, measure: Measure) -> None:
    first = run_grid(sweep(), storage, "test-0", measure)
    measure.new()
    assert run_grid(sweep(), storage, "test-0", measure) == first
    assert len(measure.asked) == 4 and measure.new() == []
    assert [len(study.trials) for study in studies(storage)] == [4]


def test_another_study_knows_nothing_of_this_one(storage: str, measure: Measure) -> None:
    run_grid(sweep(), storage, "test-0", measure)
    measure.new()
    run_grid(sweep(), storage, "test-1", measure)
    assert measure.new() == GRID


def test_a_failing_cell_is_recorded_and_the_others_go_on(
    storage: str, measure: Measure, caplog: pytest.LogCaptureFixture
) -> None:
    measure.failing["ddim"] = ValueError("out of memory")
    with caplog.at_level(logging.WARNING, "t2i"):
        results = run_grid(sweep(), storage, "test-0", measure)
    assert [bool(numbers) for _, numbers in results] == [False, False, True, True]
    assert measure.new() == GRID
    assert [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()]
    states = [trial.state.name for trial in studies(storage)[0].trials]
    assert states == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert studies(storage)[0].trials[0].user_attrs["error"] == "ValueError: out of memory"
    measure.failing.clear()
    assert all(numbers for _, numbers in run_grid(sweep(), storage, "test-0", measure))
    assert measure.new() == GRID[:2], "failed cells are tried again, and no others"


def test_a_number_that_is_not_finite_is_a_failure(storage: str) -> None:
    results = run_grid(sweep(), storage, "test-0", lambda cell, known: {METRIC: float("nan")})
    assert [numbers for _, numbers in results] == [{}] * 4
    assert {trial.state.name for trial in studies(storage)[0].trials} == {"FAIL"}


def test_an_interrupted_grid_continues_with_the_cells_that_are_left(storage: str, measure: Measure) -> None:
    measure.failing["euler"] = Interrupted(15)
    with pytest.raises(Interrupted):
        run_grid(sweep(), storage, "test-0", measure)
    assert measure.new() == GRID[:3]
    assert [trial.state.name for trial in studies(storage)[0].trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    measure.failing.clear()
    run_grid(sweep(), storage, "test-0", measure)
    assert measure.new() == GRID[2:]


def test_a_cell_that_a_killed_process_left_in_the_queue_is_not_taken_for_another(
    storage: str, measure: Measure
) -> None:
    measure.failing["euler"] = ValueError("first time")
    run_grid(sweep(), storage, "test-0", measure)
    studies(storage)[0].enqueue_trial(GRID[3])  # where a kill between two lines would leave it
    measure.failing.clear()
    run_grid(sweep(), storage, "test-0", measure)
    recorded = {tuple(trial.params.values()): trial.value for trial in studies(storage)[0].trials if trial.value}
    assert recorded == {("ddim", 5.0): 54.0, ("ddim", 7.5): 79.0, ("euler", 5.0): 55.0, ("euler", 7.5): 80.0}


def test_a_wider_space_measures_only_the_new_cells(storage: str, measure: Measure) -> None:
    run_grid(sweep(), storage, "test-0", measure)
    measure.new()
    wider = sweep(["ddim", "euler", "pndm"], [5.0, 7.5, 10.0])
    results = run_grid(wider, storage, "test-0", measure)
    assert [cell for cell, _ in results] == cells(wider.space)
    assert measure.new() == [cell for cell in cells(wider.space) if cell not in GRID]
    largest = max(studies(storage), key=lambda study: len(study.trials))
    assert len(largest.trials) == 9, "one study holds the whole grid"
    run_grid(wider, storage, "test-0", measure)
    assert measure.new() == []
    run_grid(sweep(["pndm", "ddim"], [10.0]), storage, "test-0", measure)
    assert measure.new() == [], "a part of a known grid is known"


def test_another_objective_ranks_the_cells_that_are_known(storage: str, measure: Measure) -> None:
    run_grid(sweep(), storage, "test-0", measure)
    measure.new()
    lower = Sweep(name="test", space=sweep().space, metric="fid[tiny_clip]", direction=Direction.minimize)
    run_grid(lower, storage, "test-0", measure)
    assert measure.new() == []
    assert {study.direction.name: study.best_value for study in studies(storage)} == {"MAXIMIZE": 80.0, "MINIMIZE": 1.0}
