"""What a task receives: sections for the report, interruption, and the record of the surroundings."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2i import interruption
from t2i.context import Run, flat, write_results
from t2i.interruption import Interrupted
from t2i.record import environment
from t2i.store import Stage, Store
from t2i.tracking import NullTracker


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, Store(tmp_path / "store"))


@pytest.fixture
def signals() -> Iterator[None]:
    """Puts the handlers of this process back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.usefixtures("signals")
def test_a_signal_ends_the_run_with_128_plus_its_number(run: Run, number: signal.Signals, status: int) -> None:
    run.catch_signals()
    with pytest.raises(Interrupted) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.status == status


@pytest.mark.usefixtures("signals")
def test_a_signal_waits_while_work_defers_it_and_the_second_does_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.catch_signals()
    reached = []
    now = 1000.0
    monkeypatch.setattr(interruption.time, "monotonic", lambda: now)

    def work() -> None:
        nonlocal now
        with run.deferring():
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append(run.pending_signal)
            now += interruption.REPEAT
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append(run.pending_signal)

    with pytest.raises(Interrupted):
        work()
    assert reached == [signal.SIGTERM]


def status_after(run: Run, *numbers: int) -> int:
    """What a run ends with that hears of these signals while it defers them."""

    def work() -> None:
        with run.deferring():
            for number in numbers:
                os.kill(os.getpid(), number)
            assert run.pending_signal == numbers[0], "the work goes on"

    run.catch_signals()
    with pytest.raises(Interrupted) as caught:
        work()
    return caught.value.status


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("signals")
def test_a_signal_that_comes_again_at_once_is_the_same_one(run: Run, second: signal.Signals) -> None:
    """`timeout` sends it to the process, and then to its group."""
    assert status_after(run, signal.SIGTERM, second) == 143


@pytest.mark.usefixtures("signals")
def test_one_of_several_processes_hears_of_a_stop_as_often_as_its_launcher_likes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(interruption, "REPEAT", 0.0)
    assert status_after(run, signal.SIGINT, signal.SIGTERM, signal.SIGTERM) == 130


@pytest.mark.usefixtures("signals")
def test_a_signal_that_work_did_not_look_at_is_not_lost(run: Run) -> None:
    run.catch_signals()
    with pytest.raises(Interrupted), run.deferring():
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_interruption_is_no_error_that_a_task_would_catch() -> None:
    assert not issubclass(Interrupted, Exception)


def test_sections_are_kept_for_the_report_and_figures_are_recorded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[tuple[Path, str]] = []
    monkeypatch.setattr(NullTracker, "artifact", lambda self, path, folder="": recorded.append((path, folder)))
    figure = run.figures() / "loss.png"
    figure.touch()
    table = {"columns": ["a"], "rows": [[1]], "caption": "numbers"}
    run.section("Training", "It went well.", [table], [(figure, "The loss.")], verdict="**Better.**")
    run.section("Sweep", "Nine cells.")
    kept = json.loads((run.folder / "sections.json").read_text())
    assert kept == [
        {
            "title": "Training",
            "text": "It went well.",
            "tables": [table],
            "figures": [{"path": "figures/loss.png", "caption": "The loss."}],
            "facts": {"verdict": "**Better.**"},
        },
        {"title": "Sweep", "text": "Nine cells.", "tables": [], "figures": [], "facts": {}},
    ]
    assert recorded == [(figure, "figures")]


def test_only_the_main_process_tells(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    run.section("Training", "It went well.")
    assert not (run.folder / "sections.json").exists()


def test_results_name_every_stage_that_a_run_used(run: Run) -> None:
    stage = run.stage("prepared", {}, {}, 1, lambda folder: (folder / "x").touch())
    again = run.stage("prepared", {}, {}, 1, lambda folder: None)
    run.use(Stage("metrics", "0123456789abcdef", run.folder, False))
    write_results(run.folder, {"fid[tiny_clip]": 1.5}, run.stages)
    assert json.loads((run.folder / "metrics.json").read_text()) == {"fid[tiny_clip]": 1.5}
    assert json.loads((run.folder / "stages.json").read_text()) == {
        f"prepared/{stage.digest[:12]}": {"digest": stage.digest, "reused": False},
        "metrics/0123456789ab": {"digest": "0123456789abcdef", "reused": False},
    }
    assert again.reused


def test_parameters_become_flat() -> None:
    values = {"task": "train", "dataset": {"domains": ["animal"], "limit": None}, "sweeps": {"fixed": {"cfg.scale": 5}}}
    assert flat(values) == {
        "task": "train",
        "dataset.domains": '["animal"]',
        "dataset.limit": None,
        "sweeps.fixed.cfg.scale": 5,
    }


def test_the_surroundings_are_enough_to_repeat_a_run() -> None:
    state = environment()
    assert state["packages"].keys() >= {"torch", "diffusers", "transformers", "accelerate", "numpy"}
    assert state["processes"] == 1
    assert state["cpus"] == os.cpu_count()
    assert state["git"] == {} or len(state["git"]["commit"]) == 40
    json.dumps(state)
