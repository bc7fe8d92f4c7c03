"""What measures a card keeps its budget, writes as it goes, and goes on where it was cut off."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import _commit, gpu
from bench.__main__ import machine
from bench._rows import newest, parts

RATIO = {"median": 2.5, "range": [2.4, 2.6]}
STEP = {"strategies": {"lora": RATIO}, "faster_than_batches": RATIO, "what": "a step", "results_equal": True}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that were measured, in order, each in a second."""
    found: list[str] = []

    def measured(name: str, options: dict[str, Any], left: float) -> dict[str, Any]:
        found.append(name)
        return {"bench": gpu.PARTS[name].bench, "seconds": 1.0, "result": STEP}

    monkeypatch.setattr(gpu, "_measured", measured)
    monkeypatch.setattr(gpu, "_device", lambda: "cpu")
    monkeypatch.setattr(gpu, "commit", lambda: "0123456")
    monkeypatch.setattr("bench.__main__.commit", lambda: "0123456")
    return found


def test_a_rerun_goes_on_after_the_last_part_that_was_written(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = list(gpu.PARTS)
    whole = gpu._measured

    def cut_off(name: str, options: dict[str, Any], left: float) -> dict[str, Any]:
        if name == names[3]:
            raise KeyboardInterrupt
        return whole(name, options, left)

    monkeypatch.setattr(gpu, "_measured", cut_off)
    with pytest.raises(KeyboardInterrupt):
        gpu.run("tiny", folder=str(tmp_path))
    [(_, where, written)] = newest(tmp_path)
    assert list(written["parts"]) == names[:3] and where == machine()
    monkeypatch.setattr(gpu, "_measured", whole)
    assert list(gpu.run("tiny", folder=str(tmp_path))["parts"]) == names
    assert asked == names, "every part once"
    monkeypatch.setattr(gpu, "commit", lambda: "fedcba9")
    gpu.run("tiny", folder=str(tmp_path))
    assert asked == names * 2, "another commit is measured anew"


def test_parts_without_time_are_named_and_measured_by_the_next_run(asked: list[str], tmp_path: Path) -> None:
    gpu.run("tiny", budget=0, folder=str(tmp_path))
    assert asked == [] and not list(newest(tmp_path))
    first = gpu.run("tiny", budget=6, folder=str(tmp_path))
    assert all("no time" in entry.get("failed", "no time") for entry in first["parts"].values())
    assert asked == [], "less than a second beside the margin"
    assert all("result" in entry for entry in gpu.run("tiny", folder=str(tmp_path))["parts"].values())


def test_the_rows_of_a_card_are_those_of_the_benches_it_runs(asked: list[str], tmp_path: Path) -> None:
    gpu.run("tiny", folder=str(tmp_path))
    [(_, _, written)] = newest(tmp_path)
    kinds = [part["benchmark"] for part in parts(written)]
    assert kinds.count("train") == 3 and kinds.count("sdxl") == 1
    assert all(part["commit"] == "0123456" for part in parts(written))
    assert set(kinds) - {"sdxl"} <= set(_commit.MEASURES)


@pytest.mark.parametrize(
    ("options", "left", "words"),
    [({"unknown": 1}, 60.0, "ended with status 1"), ({"pictures": 10**6}, 0.2, "cut off after 0 s")],
)
def test_a_part_that_fails_or_takes_too_long_says_so(options: dict[str, Any], left: float, words: str) -> None:
    """In processes of their own: the growth of a million pictures would take half an hour."""
    gpu.PARTS["growth"] = gpu.Part("growth", {}, {}, 0)
    try:
        found = gpu._measured("growth", options, left)
    finally:
        del gpu.PARTS["growth"]
    assert words in found["failed"] and "result" not in found and json.dumps(found)


def test_without_a_card_the_full_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_device", lambda: "cpu")
    with pytest.raises(SystemExit, match="--model=tiny"):
        gpu.run()
