"""Every cell is measured once, by whoever takes it, however often the sweep is repeated, interrupted or killed."""

import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from t2i.errors import ConfigError
from t2i.interruption import Interrupted
from t2i.sweeps.config import Direction, Sampler, Sweep
from t2i.sweeps.driver import Beaten, Cell, Outcome, Report, outcomes, work
from t2i.sweeps.space import cells, key_of
from t2i.sweeps.storage import open_storage
from t2i.sweeps.study import Study

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
        self.asked: list[Cell] = []
        self.failing: dict[str, BaseException] = {}

    def __call__(self, cell: Cell, report: Report) -> dict[str, float]:
        self.asked.append(cell)
        if cell["scheduler"] in self.failing:
            raise self.failing[cell["scheduler"]]
        return {METRIC: 10 * cell["cfg.scale"] + len(cell["scheduler"]), "fid[tiny_clip]": 1.0}

    def new(self) -> list[Cell]:
        """The cells that were asked for since the last call."""
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def measure() -> Measure:
    return Measure()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sweeps.db'}"


def sweep(schedulers: list[str] | None = None, scales: list[float] | None = None, **options: Any) -> Sweep:
    space = {"scheduler": schedulers or ["ddim", "euler"], "cfg.scale": scales or [5.0, 7.5]}
    config = Sweep(**{"name": "test", "space": space, "metric": METRIC, "heartbeat": 1, **options})
    config.validate()
    return config


def run(config: Sweep, url: str, measure: Any, name: str = "test") -> list[Outcome]:
    """One worker, from opening the database to the last cell."""
    study = Study(config, open_storage(url, config.heartbeat), name)
    work(study, measure, wait=0.05)
    return outcomes(study)


def studies(url: str) -> list[optuna.Study]:
    return [optuna.load_study(study_name=name, storage=url) for name in optuna.get_all_study_names(url)]


def test_cells_come_in_grid_order_with_the_last_key_fastest() -> None:
    assert cells({"scheduler": ["ddim", "euler"], "cfg.scale": [5.0, 7.5]}) == GRID
    assert cells({"a": [1]}) == [{"a": 1}]


def test_a_conditional_dimension_exists_where_it_says() -> None:
    space = {"rank": {"values": [4, 8], "when": {"strategy": "lora"}}, "strategy": ["lora", "unet"]}
    assert cells(space) == [
        {"rank": 4, "strategy": "lora"},
        {"strategy": "unet"},
        {"rank": 8, "strategy": "lora"},
    ]


def test_every_cell_is_measured_once_and_recorded(url: str, measure: Measure) -> None:
    results = run(sweep(), url, measure)
    assert [result.cell for result in results] == GRID == measure.new()
    assert [result.numbers[METRIC] for result in results] == [54.0, 79.0, 55.0, 80.0]
    assert all(result.new and not result.beaten for result in results)
    (study,) = studies(url)
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    assert study.best_params == {"scheduler": "euler", "cfg.scale": 7.5} and study.best_value == 80.0


def test_a_repeated_grid_measures_nothing_new_and_returns_the_same(url: str, measure: Measure) -> None:
    first = run(sweep(), url, measure)
    measure.new()
    again = run(sweep(), url, measure)
    assert [(r.cell, r.numbers) for r in again] == [(r.cell, r.numbers) for r in first]
    assert not any(r.new for r in again) and measure.new() == []
    assert [len(study.trials) for study in studies(url)] == [4]


def test_another_study_knows_nothing_of_this_one(url: str, measure: Measure) -> None:
    run(sweep(), url, measure)
    measure.new()
    run(sweep(), url, measure, "other")
    assert measure.new() == GRID


def test_a_failing_cell_is_recorded_and_the_others_go_on(
    url: str, measure: Measure, caplog: pytest.LogCaptureFixture
) -> None:
    measure.failing["ddim"] = ValueError("out of memory")
    with caplog.at_level(logging.WARNING, "t2i"):
        results = run(sweep(), url, measure)
    assert [bool(result.numbers) for result in results] == [False, False, True, True]
    assert measure.new() == GRID
    assert [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()]
    assert [trial.state.name for trial in studies(url)[0].trials] == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert studies(url)[0].trials[0].user_attrs["error"] == "ValueError: out of memory"
    measure.failing.clear()
    assert all(result.numbers for result in run(sweep(), url, measure))
    assert measure.new() == GRID[:2], "failed cells are tried again, and no others"


def test_a_number_that_is_not_finite_is_a_failure(url: str) -> None:
    results = run(sweep(), url, lambda cell, report: {METRIC: float("nan")})
    assert [result.numbers for result in results] == [{}] * 4
    assert {trial.state.name for trial in studies(url)[0].trials} == {"FAIL"}


def test_an_interrupted_grid_continues_with_the_cells_that_are_left(url: str, measure: Measure) -> None:
    measure.failing["euler"] = Interrupted(15)
    with pytest.raises(Interrupted):
        run(sweep(), url, measure)
    assert measure.new() == GRID[:3]
    measure.failing.clear()
    assert all(result.numbers for result in run(sweep(), url, measure))
    assert sorted(map(key_of, measure.new())) == sorted(map(key_of, GRID[2:]))


def test_a_wider_space_measures_only_the_new_cells(url: str, measure: Measure) -> None:
    run(sweep(), url, measure)
    measure.new()
    wider = sweep(["ddim", "euler", "pndm"], [5.0, 7.5, 10.0])
    results = run(wider, url, measure)
    assert [result.cell for result in results] == cells(wider.space)
    assert measure.new() == [cell for cell in cells(wider.space) if cell not in GRID]
    run(wider, url, measure)
    run(sweep(["pndm", "ddim"], [10.0]), url, measure)
    assert measure.new() == [], "a part of a known grid is known"


def test_another_objective_ranks_the_cells_that_are_known(url: str, measure: Measure) -> None:
    run(sweep(), url, measure)
    measure.new()
    run(sweep(metric="fid[tiny_clip]", direction=Direction.minimize), url, measure)
    assert measure.new() == []
    assert {study.direction.name: study.best_value for study in studies(url)} == {"MAXIMIZE": 80.0, "MINIMIZE": 1.0}


def slow_worker(url: str, journal: str, seconds: float, sampler: str = "grid") -> None:
    """A worker whose cells take a while; each measured cell is a line of its journal."""

    def measure(cell: Cell, report: Report) -> dict[str, float]:
        time.sleep(seconds)
        with open(journal, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {key_of(cell)}\n")
        return {METRIC: float(cell["cfg.scale"])}

    more = {"trials": 12} if sampler != "grid" else {}
    run(many(sampler=Sampler(sampler), **more), url, measure)


def many(**options: Any) -> Sweep:
    return sweep(["ddim", "euler", "pndm"], [1.0, 3.0, 5.0, 7.5], **options)


def lines(journal: Path) -> list[str]:
    return [line.split(" ", 1)[1] for line in journal.read_text().splitlines()] if journal.exists() else []


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_two_workers_killed_again_and_again_measure_every_cell_once(url: str, tmp_path: Path, sampler: str) -> None:
    journal = tmp_path / "journal"
    context = multiprocessing.get_context("spawn")
    arguments = (url, str(journal), 0.15, sampler)
    workers = [context.Process(target=slow_worker, args=arguments) for _ in range(2)]
    for worker in workers:
        worker.start()
    for kill in range(5):
        goal = len(lines(journal)) + 1
        end = time.monotonic() + 60
        while len(lines(journal)) < goal and time.monotonic() < end:
            time.sleep(0.03)
        assert workers[kill % 2].exitcode is None, "a worker ended before there was nothing left"
        victim = workers[kill % 2]
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join()
        workers[kill % 2] = context.Process(target=slow_worker, args=arguments)
        workers[kill % 2].start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    (study,) = studies(url)
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    assert len(done) == 12
    assert not [trial for trial in study.trials if trial.state.name in ("RUNNING", "WAITING")]
    if sampler == "grid":
        assert sorted(key_of(trial.user_attrs["cell"]) for trial in done) == sorted(map(key_of, cells(many().space)))
        # a worker that dies between its last line and telling the study is the one way to do a cell again
        assert len(lines(journal)) <= 12 + 5


def test_a_worker_of_another_machine_is_dead_when_its_heart_stops(
    url: str, measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = sweep()
    away = Study(config, open_storage(url, 1), "test")
    monkeypatch.setattr("t2i.sweeps.alive.socket.gethostname", lambda: "elsewhere")
    taken = away.take()
    assert taken is not None and taken[1] == GRID[0]
    with away.alive(taken[0]):
        time.sleep(0.2)  # one heartbeat, and then no more
    monkeypatch.undo()
    here = Study(config, open_storage(url, 1), "test")
    here.bury_the_dead()
    assert GRID[0] not in here.missing(), "as long as it may be alive, its cell is its own"
    time.sleep(4.5)
    work(here, measure, wait=0.1)
    assert sorted(map(key_of, measure.new())) == sorted(map(key_of, GRID))


def test_a_worker_that_is_slow_keeps_its_cell_by_its_heartbeat(url: str, measure: Measure) -> None:
    config = sweep()
    slow = Study(config, open_storage(url, 1), "test")
    taken = slow.take()
    assert taken is not None
    with slow.alive(taken[0]):
        time.sleep(4.5)
        other = Study(config, open_storage(url, 1), "test")
        other.bury_the_dead()
        assert taken[1] not in other.missing()


def test_samplers_try_as_many_cells_as_they_are_told(url: str) -> None:
    space = {
        "strategy": ["lora", "unet"],
        "strategy.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
        "strategy.rank": {"low": 2, "high": 32, "int": True, "when": {"strategy": "lora"}},
    }

    def measure(cell: Cell, report: Report) -> dict[str, float]:
        assert 1e-5 <= cell["strategy.learning_rate"] <= 1e-2
        assert ("strategy.rank" in cell) == (cell["strategy"] == "lora")
        return {METRIC: -abs(cell["strategy.learning_rate"] - 1e-3)}

    for sampler in ("random", "tpe"):
        config = Sweep(name="tune", space=space, metric=METRIC, sampler=Sampler(sampler), trials=15)
        config.validate()
        results = run(config, url, measure, sampler)
        assert len(results) == 15 and len({key_of(result.cell) for result in results}) == 15
        assert {result.cell["strategy"] for result in results} == {"lora", "unet"}
        assert [result.cell for result in run(config, url, measure, sampler)] == [result.cell for result in results]


def test_several_objectives_have_a_front(url: str) -> None:
    config = sweep(also={"seconds": Direction.minimize}, sampler=Sampler.nsga2, trials=8)
    results = run(config, url, lambda cell, report: {METRIC: cell["cfg.scale"], "seconds": cell["cfg.scale"]})
    assert len(results) <= 8
    (study,) = studies(url)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"] and study.best_trials


def test_a_beaten_cell_leaves_the_race_and_the_best_finishes(url: str) -> None:
    made: dict[float, int] = {}

    def measure(cell: Cell, report: Report) -> dict[str, float]:
        scale = cell["cfg.scale"]
        scores = [scale + 0.3 * ((7 * k) % 5) for k in range(40)]  # the same wobble for every cell
        for start in range(0, 40, 8):
            made[scale] = start + 8
            if report(scores[start : start + 8]):
                raise Beaten({METRIC: sum(scores[: start + 8]) / (start + 8), "images": start + 8})
        return {METRIC: sum(scores) / 40}

    config = sweep(["ddim"], [5.0, 10.0, 7.5, 1.0, 10.1], racing=True)
    results = {result.cell["cfg.scale"]: result for result in run(config, url, measure)}
    assert [results[scale].beaten for scale in (5.0, 10.0, 7.5, 1.0, 10.1)] == [False, False, True, True, False]
    assert made[7.5] < 40 and made[1.0] < 40 and made[10.1] == 40
    assert results[1.0].numbers["images"] == made[1.0]
    assert run(config, url, measure)[2].beaten, "a beaten cell is known"


def test_a_storage_that_cannot_be_reached_is_one_sentence_without_the_password() -> None:
    with pytest.raises(
        ConfigError, match=r"sweeps\.storage=postgresql://\.\.\.@127\.0\.0\.1:1/t2i cannot be opened"
    ) as caught:
        open_storage("postgresql://user:secret@127.0.0.1:1/t2i", 1)
    assert "secret" not in str(caught.value)
