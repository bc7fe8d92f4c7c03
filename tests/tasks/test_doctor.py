"""Each planted fault is named, with what to do about it."""

import sqlite3
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from t2i.doctor import checks as doctor_checks

from ..conftest import Ended, Lab


class Usage(NamedTuple):
    """As of shutil."""

    total: int
    used: int
    free: int


def no_space(lab: Lab, patch: pytest.MonkeyPatch) -> list[str]:
    patch.setattr(doctor_checks.shutil, "disk_usage", lambda path: Usage(10**12, 10**12 - 10**6, 10**6))
    return []


def unwritable(lab: Lab, patch: pytest.MonkeyPatch) -> list[str]:
    (lab.root / "mlruns").write_text("a file where a folder should be")
    return ["track.enabled=true", f"track.uri=sqlite:///{lab.root}/mlruns/mlflow.db"]


def missing_weights(lab: Lab, patch: pytest.MonkeyPatch) -> list[str]:
    return ["model=sd15", "model.source=nobody/has-this-model"]


def wrong_torch(lab: Lab, patch: pytest.MonkeyPatch) -> list[str]:
    version = metadata.version
    patch.setattr(doctor_checks.metadata, "version", lambda name: "2.4.1" if name == "torch" else version(name))
    return []


def half_database(lab: Lab, patch: pytest.MonkeyPatch) -> list[str]:
    with sqlite3.connect(lab.root / "half.db") as database:
        database.execute("CREATE TABLE experiments (id INTEGER)")
    return ["track.enabled=true", f"track.uri=sqlite:///{lab.root}/half.db"]


def bad_proxy(lab: Lab, patch: pytest.MonkeyPatch) -> list[str]:
    patch.setenv("HTTPS_PROXY", "http://proxy:port")
    return []


def fp16_on_cpu(lab: Lab, patch: pytest.MonkeyPatch) -> list[str]:
    return ["launch.mixed_precision=fp16"]


def stale_lock(lab: Lab, patch: pytest.MonkeyPatch) -> list[str]:
    folder = lab.root / "store" / "training"
    (folder / ".0123.partial").mkdir(parents=True)
    (folder / ".0123.lock").touch()
    return []


FAULTS: dict[str, tuple[Callable[[Lab, pytest.MonkeyPatch], list[str]], str, str, str]] = {
    "no space": (no_space, "fail", "disk", "free space below"),
    "unwritable folder": (unwritable, "fail", "folder of track.uri", "use track.uri=<a folder of yours>"),
    "missing weights": (missing_weights, "fail", "model", "give a folder: model.source=<folder>"),
    "wrong torch": (wrong_torch, "fail", "torch", "pip install 'torch>=2.10'"),
    "half-initialised database": (half_database, "fail", "track.uri", "move"),
    "bad proxy": (bad_proxy, "fail", "proxy", "use HTTPS_PROXY=http://<host>:<port>"),
    "fp16 on CPU": (fp16_on_cpu, "fail", "precision", "use launch.mixed_precision=no, or bf16"),
    "stale lock": (stale_lock, "warn", "store", "repeat the command that was stopped"),
}


def told(ended: Ended) -> dict[str, list[str]]:
    rows: list[list[str]] = ended.json("doctor.json")["checks"]
    return {name: rest for name, *rest in rows}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test has a test of its own."""
    checks = tuple(check for check in doctor_checks.CHECKS if check is not doctor_checks.self_test)
    monkeypatch.setattr(doctor_checks, "CHECKS", checks)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_named(empty_lab: Lab, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    plant, state, name, remedy = FAULTS[fault]
    with monkeypatch.context() as patch:
        ended = empty_lab.here("task=doctor", *plant(empty_lab, patch))
    found = told(ended)[name]
    assert found[0] == state and remedy in found[2], found
    assert ended.status == (1 if state == "fail" else 0)
    assert remedy in (ended.err if state == "fail" else ended.out)
    others = {other: row for other, row in told(ended).items() if other not in (name, "memory", "disk", "evaluator")}
    assert all(row[0] == "ok" for row in others.values()), "nothing else is blamed"


def test_a_sound_machine_passes_every_check(empty_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ended = empty_lab.here("task=doctor")
    assert ended.status == 0, ended.err
    assert told(ended)["self-test"][0] == "ok" and "two steps (loss" in told(ended)["self-test"][1]
    assert ended.metrics["fail"] == 0
    assert not list(Path(empty_lab.root / "store").glob("training/*")), "the self-test leaves nothing"


def test_a_folder_that_cannot_be_made_is_one_sentence(empty_lab: Lab) -> None:
    (empty_lab.root / "file").touch()
    ended: Any = empty_lab.here("task=doctor", f"outputs={empty_lab.root}/file/outputs")
    assert ended.status == 1 and "use outputs=<a folder of yours>" in ended.err
