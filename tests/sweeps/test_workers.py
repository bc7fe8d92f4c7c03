"""How many processes share the cells of a sweep where the machine may choose."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from t2i.config import Config, compose
from t2i.sweeps import workers

GRID = "sweeps.trials=3"


def asked(*overrides: str) -> Config:
    return compose(["task=sweep", "sweeps=quick", GRID, "sweeps.workers=auto", *overrides])


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(cores: int, gpus: list[str], available: float = 64e9) -> None:
        monkeypatch.setattr(workers, "_cores", lambda: cores)
        monkeypatch.setattr(workers, "_gpus", lambda: gpus)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))

    return of


def test_a_small_model_takes_one_process_a_core_and_a_large_one_its_threads(machine: Any) -> None:
    machine(2, [])
    assert workers.count(asked()) == 2
    assert workers.count(asked("sweeps.workers=5")) == 5, "who says a number has it"
    assert workers.count(asked("model=sd15", "model.init=random")) == 1, "a billion parameters"
    machine(8, [])
    assert workers.count(asked()) == 3, "no more than cells"
    machine(8, [], available=4.5e9)
    assert workers.count(asked()) == 2, "no more than the memory holds"
    machine(8, [], available=1e9)
    assert workers.count(asked()) == 1


def test_with_cards_there_is_one_process_a_card(machine: Any) -> None:
    machine(64, ["0", "1"])
    assert workers.count(asked()) == 2 == workers.count(asked("model=sd15", "model.init=random"))


@pytest.mark.parametrize(("chosen", "expected"), [(None, "4"), ("3", "3")])
def test_workers_share_the_cores(
    machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: str | None, expected: str
) -> None:
    machine(8, [])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    given: dict[str, str] = {}
    monkeypatch.setattr(workers.subprocess, "Popen", lambda *_, env, **__: given.update(env))
    workers._spawn(asked(), SimpleNamespace(folder=tmp_path, overrides=[]), 0, 2)  # type: ignore[arg-type]
    assert given["OMP_NUM_THREADS"] == expected and "CUDA_VISIBLE_DEVICES" not in set(given) - set(workers.os.environ)
