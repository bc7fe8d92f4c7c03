"""The wheel in an environment of its own, with nothing of the working copy in reach: the `t2i` command does what run.py does."""

import glob
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SOURCE = ["t2i", "conf", "sweeps", "tools", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"]
PICTURES = ["task=generate", 'prompts=["a red bus", "a cat"]', "scheduler.steps=2"]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console command of a fresh environment; what t2i depends on stands behind it."""
    root = tmp_path_factory.mktemp("wheel")
    for name in SOURCE:  # building leaves folders behind
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, root / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(PROJECT / name, root / "source" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", root, root / "source"], check=True)
    (wheel,) = root.glob("t2i-*.whl")
    shutil.rmtree(root / "source")
    subprocess.run([sys.executable, "-m", "venv", root / "venv"], check=True)
    (site,) = glob.glob(f"{root}/venv/lib/python3*/site-packages")
    own = next(path for path in map(Path, sys.path) if (path / "torch").is_dir())
    (Path(site) / "zz_dependencies.pth").write_text(f"{own}\n")
    subprocess.run([root / "venv" / "bin" / "pip", "install", "-q", "--no-deps", wheel], check=True)
    return root / "venv" / "bin" / "t2i"


def typed(command: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a working folder."""
    folder.mkdir(exist_ok=True)
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "T2I"))}
    return subprocess.run(
        [command, *arguments], cwd=folder, env=surroundings, capture_output=True, text=True, check=False
    )


def test_the_command_carries_configuration_and_sweeps(command: Path, tmp_path: Path) -> None:
    from t2i.config import help_text

    done = typed(command, tmp_path, "--help")
    assert done.returncode == 0 and done.stdout == help_text().replace("python run.py", "t2i"), done.stderr
    done = typed(command, tmp_path, "sweeps=scheduler_cfg", "experiment=coco_animals_tiny", "--cfg", "job")
    assert done.returncode == 0 and "name: scheduler_cfg" in done.stdout, done.stderr
    done = typed(command, tmp_path, "task=generate", "modle=tiny")
    assert done.returncode == 2 and done.stderr.startswith("t2i: ") and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_runs_and_tracking_are_in_the_working_folder(command: Path, tmp_path: Path) -> None:
    done = typed(command, tmp_path / "work", *PICTURES)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["mlruns", "outputs"]
    (run,) = (tmp_path / "work" / "outputs").glob("*/*_generate_*")
    assert len(list((run / "images").glob("*.png"))) == 2
    assert json.loads((run / "environment.json").read_text())["git"] == {}
    # The same pictures from elsewhere: nothing of them depends on the folder.
    again = typed(command, tmp_path / "other", *PICTURES, f"outputs={tmp_path}/work/outputs")
    assert again.returncode == 0 and "reused generated" in again.stdout, again.stderr


def test_several_processes_start_from_the_package(command: Path, tmp_path: Path) -> None:
    done = typed(command, tmp_path, *PICTURES, "launch.processes=2", "track.enabled=false")
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = (tmp_path / "outputs").glob("*/*_generate_*")
    assert len(list((run / "images").glob("*.png"))) == 2
