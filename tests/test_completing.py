"""Completion in a shell: what can be typed, read from the names of files, so that nobody waits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from t2i.completing import answers
from t2i.config import Task
from t2i.keys import keys, options

from .conftest import PROJECT


def test_tasks_and_options_are_those_that_can_be_typed() -> None:
    assert answers("python run.py task=") == sorted(task.value for task in Task)
    assert answers("python run.py seed=3 task=pre") == ["prepare"]
    for group, names in options().items():
        assert answers(f"t2i {group}=") == sorted(names)
    assert answers("python run.py ") == sorted(f"{name}=" for name in ("task", *options()))


def test_keys_come_when_their_beginning_is_typed() -> None:
    assert answers("python run.py strategy.ra") == ["strategy.rank="]
    assert answers("python run.py training.s") == sorted(f"{k}=" for k in keys() if k.startswith("training.s"))
    assert answers("python run.py sched") == ["scheduler="]
    assert "scheduler.steps=" in answers("python run.py scheduler")
    assert answers("python run.py track.enabled=") == ["false", "true"]
    assert answers("python run.py dtype=") == ["bf16", "fp16", "fp32"]
    assert answers("python run.py seed=") == answers("python run.py nothing=") == []


def ask(line: str, *command: str) -> "subprocess.CompletedProcess[str]":
    surroundings = {**os.environ, "PYTHONPATH": str(PROJECT), "COMP_LINE": line}
    return subprocess.run([sys.executable, *command], env=surroundings, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("program", [[str(PROJECT / "run.py")], ["-m", "t2i"]])
def test_no_library_is_imported_to_answer(program: list[str]) -> None:
    done = ask("python run.py scheduler=dd", "-X", "importtime", *program, "-sc", "query=bash")
    assert done.returncode == 0 and done.stdout.split() == ["ddim", "ddpm"]
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {"hydra", "omegaconf", "numpy", "torch", "t2i.config"} & modules, json.dumps(sorted(modules))


def test_bash_completes_with_what_it_is_given(tmp_path: Path) -> None:
    script = ask("", str(PROJECT / "run.py"), "-sc", "install=bash").stdout
    line = f"{sys.executable} {PROJECT}/run.py task=em"
    typed = f"COMP_WORDS=({sys.executable} {PROJECT}/run.py task = em); COMP_LINE='{line}'; COMP_POINT={len(line)}"
    asked = f'{script}\n{typed}\n_t2i_complete\necho "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False)
    assert done.stdout == "embed\n", done.stderr
    wrong = ask("", str(PROJECT / "run.py"), "-sc", "install=fish")
    assert wrong.returncode == 1 and wrong.stderr.startswith("t2i: -sc takes install=bash; type eval ")
