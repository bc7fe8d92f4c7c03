"""A bar for what takes longer than three seconds, on the screen of one process."""

import time

import pytest

from t2i import progress


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY", 1e-9)


def test_items_come_through_and_the_count_is_shown(at_once: None, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []
    for item in progress.progress([3, 1, 2], "features", "batch"):
        seen.append(item)
        time.sleep(0.15)  # the bar is drawn ten times a second at most
    assert seen == [3, 1, 2]
    shown = capsys.readouterr().err
    assert "features" in shown and "/3" in shown


def test_quick_work_leaves_the_screen_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.progress(range(3), "features", "batch")) == [0, 1, 2]
    assert capsys.readouterr().err.strip() == ""


def test_only_the_first_process_shows_it(
    at_once: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert list(progress.progress(range(2), "features", "batch")) == [0, 1]
    assert capsys.readouterr().err == ""
