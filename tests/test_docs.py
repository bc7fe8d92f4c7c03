"""The guides say what is: their commands compose, their links lead somewhere, the reference lists every key."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from t2i.config import compose
from tools.configuration_reference import PAGE, page

from .conftest import PROJECT

GUIDES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
PLACEHOLDER = re.compile(r"<[^<>]*>")


def commands(path: Path) -> list[str]:
    """Every `python run.py ...` and `accelerate launch ... run.py ...` of a guide, in blocks and in lines."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line.split("   #")[0] for block in blocks for line in block.splitlines()]
    lines += re.findall(
        r"`((?:python|accelerate launch)[^`]*run\.py[^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )
    return [" ".join(line.split()) for line in lines if re.match(r"\s*(python|accelerate launch .*) ?run\.py ", line)]


def overrides(command: str, folder: Path) -> list[str]:
    """What follows run.py, with a folder that exists in the place of every placeholder and of every path."""
    words = shlex.split(PLACEHOLDER.sub(str(folder), command.partition("run.py")[2]))
    words = [word for word in words if not word.startswith(("-", "...")) and "=" in word]
    swept = [word for word in words if re.match(r"""[^=]*=(\[[^\]]*\],\[|[^\[{'"][^,]*,)""", word)]
    return [word for word in words if word not in swept and not word.startswith("hydra")] + [
        re.sub(r"=(\[[^\]]*\]|[^,]*),.*", r"=\1", word) for word in swept
    ]


COMMANDS = [(path.name, command) for path in GUIDES for command in dict.fromkeys(commands(path))]


def test_there_are_commands_in_the_guides() -> None:
    assert len(COMMANDS) > 40 and {"README.md", "sweeps.md", "index.md"} <= {name for name, _ in COMMANDS}


@pytest.mark.parametrize(("guide", "command"), COMMANDS, ids=[f"{name}: {text[:60]}" for name, text in COMMANDS])
def test_every_command_of_the_guides_composes(guide: str, command: str, tmp_path: Path) -> None:
    compose(overrides(command, tmp_path))


def test_the_reference_is_what_the_schema_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tools/configuration_reference.py"


def test_the_site_is_built_without_a_dead_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert (tmp_path / "site" / "index.html").exists()
