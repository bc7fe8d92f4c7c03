"""Puts conf/, sweeps/ and constraints.txt into the wheel: in the repository they stay at the top, where people look for them.

pyproject.toml names `BuildPy`; `pip wheel .` uses it.
"""

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py

CARRIED = ("conf", "sweeps", "constraints.txt")
TARGET = Path("t2i") / "installed"


class BuildPy(build_py):
    """Copies what is carried beside the modules; an editable installation reads it where it is."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / TARGET
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        root = Path(__file__).resolve().parent.parent
        for name in CARRIED:
            if (root / name).is_dir():
                shutil.copytree(root / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(root / name, target / name)
