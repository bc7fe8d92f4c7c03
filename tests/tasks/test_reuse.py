"""A command of which all is there: it builds no network, draws no figure and imports none of the libraries that would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import PROJECT, SCENES, SWEEP, TOY, Ended, Lab

HEAVY = {
    "torch",
    "diffusers",
    "transformers",
    "tokenizers",
    "peft",
    "accelerate",
    "matplotlib",
    "mlflow",
    "scipy.stats",
}
PROGRAM = """
import json, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("\\n" + json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(lab: Lab, *arguments: str) -> tuple[set[str], list[Path]]:
    """What a fresh process has imported at the end of a command, and the run folder."""
    before = lab.folders()
    command = [sys.executable, "-c", PROGRAM, str(PROJECT / "run.py"), *lab.places(True), *arguments]
    surroundings = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1])), sorted(lab.folders() - before)


def kept(lab: Lab) -> set[Path]:
    """Everything in the store."""
    return {path for path in (lab.root / "store").glob("*/*") if not path.name.startswith(".")}


@pytest.mark.parametrize("arguments", [[*SCENES, *TOY, *SWEEP], ["task=report"]], ids=["pipeline", "report"])
def test_a_second_command_imports_nothing_that_computes_or_draws(
    lab: Lab, main_job: Ended, arguments: list[str]
) -> None:
    before = kept(lab)
    modules, folders = imported(lab, *arguments)
    assert not HEAVY & modules
    assert kept(lab) == before
    if arguments == ["task=report"]:
        return
    (folder,) = folders
    drawn = {path.name: path.read_bytes() for path in (main_job.folder / "figures").iterdir()}
    assert len(drawn) > 20
    assert {path.name: path.read_bytes() for path in (folder / "figures").iterdir()} == drawn
    asked = (folder / "stages.txt").read_text().splitlines()
    assert sum(line.startswith("figure/") for line in asked) == len(drawn), (
        "task=store keeps them while the run is there"
    )


def test_a_second_evaluation_imports_nothing_that_computes_or_draws(lab: Lab, main_job: Ended) -> None:
    arguments = ["task=evaluate", *SCENES, *TOY]
    assert lab.here(*arguments).status == 0
    assert not HEAVY & imported(lab, *arguments)[0]


def test_a_mistake_before_the_work_leaves_no_run(empty_lab: Lab) -> None:
    """One that no look at the command line finds: the run folder says it, and the tracker's database is not even made."""
    (empty_lab.root / "nothing").mkdir()
    ended = empty_lab.here("task=prepare", "dataset=folder", f"dataset.root={empty_lab.root}/nothing", track=True)
    assert ended.status == 1 and "nothing is empty" in ended.err
    assert ended.json("status.json")["status"] == "FAILED"
    assert not (empty_lab.root / "mlflow.db").exists()
