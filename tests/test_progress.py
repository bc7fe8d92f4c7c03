"""A bar for what takes longer than three seconds, on the screen of one process."""

import logging
import time

import pytest

from t2i import progress


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY", 1e-9)
    monkeypatch.setattr(progress, "on_terminal", lambda: True)


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


def test_without_a_terminal_a_line_says_it_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1_000_000, 10))  # ten seconds an item
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with caplog.at_level(logging.INFO, "t2i"):
        assert list(progress.progress(range(1000), "hashing", "file")) == list(range(1000))
        list(progress.progress(iter(range(7)), "writing", "image"))
    lines = [record.getMessage() for record in caplog.records]
    assert (
        lines[0] == "hashing: 2 of 1,000 files, about 4.2 h left"
    )  # 998 at 15 s, as the clock stood when it was asked
    assert len(lines) == 333 + 2 and lines[-1] == "writing: 5 images"
    assert capsys.readouterr().err == ""
