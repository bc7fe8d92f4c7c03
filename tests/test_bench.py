"""What bench/ says of its results. The measurements themselves run in `make bench-quick`."""

import importlib.util

import pytest

from bench._figure import TITLES
from bench._rows import ROWS, Row, newest
from bench.growth import exponent
from bench.quick import SMALLEST
from bench.table import README, renewed


def test_the_page_shows_the_newest_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == renewed(text), "run make bench-table"


def test_every_bench_is_run_at_its_smallest_and_has_a_figure() -> None:
    assert set(SMALLEST) == set(TITLES)
    assert {row.bench for row in ROWS} <= set(TITLES)
    assert all(importlib.util.find_spec(f"bench.{name}") for name in TITLES)


def test_every_result_was_found_equal_and_names_its_machine() -> None:
    results = list(newest())
    assert len(results) >= 8
    for _, machine, result in results:
        assert result.get("results_equal", True) and machine in result["machine"]


def test_a_row_is_held_against_the_targets_of_its_device() -> None:
    row = Row("a step", "theirs", "train", ("steps",), 1.6, 2.0, (2.5, 3.5))
    numbers = {"median": 2.2, "range": [2.0, 2.4]}
    on_cpu, on_gpu = (row.found({"device": device, "steps": numbers}) for device in ("cpu", "H200"))
    assert on_cpu is not None and on_cpu.verdict == "stretch"
    assert on_gpu is not None and (on_gpu.short, on_gpu.verdict) == (True, "short by 12%")
    assert row.found({"device": "cpu"}) is None


def test_the_exponent_is_the_slope_on_log_axes() -> None:
    found = exponent([10, 100, 1000], [3.0, 300.0, 30_000.0])
    assert found["median"] == pytest.approx(2.0) and found["range"] == pytest.approx([2.0, 2.0])
    assert exponent([10, 100, 1000], [1.0, 10.0, 1000.0])["range"] == pytest.approx([1.0, 2.0])
