"""The interactive line: lines piped into it, and Ctrl-C, Ctrl-D and the history in a terminal of its own."""

import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from ..conftest import PROJECT, Lab

SMALL = ["task=prompt", "scheduler.steps=2"]


def talk(lab: Lab, *lines: str, weights: Path | None = None, more: Sequence[str] = ()) -> tuple[str, Path]:
    """What the task prints for lines on its standard input, and its run folder."""
    more = [*more, *([f"weights={weights}"] if weights else [])]
    command = [sys.executable, str(PROJECT / "run.py"), *lab.places(False), *SMALL, *more]
    done = subprocess.run(
        command, input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    (folder,) = lab.folders()
    return done.stdout, folder


def recipes(folder: Path) -> list[dict[str, object]]:
    found = []
    for path in sorted((folder / "images").glob("*.png")):
        with Image.open(path) as image:
            found.append(json.loads(image.text["t2i"]))  # type: ignore[attr-defined]
    return found


def test_a_conversation_through_a_pipe(empty_lab: Lab) -> None:
    out, folder = talk(
        empty_lab,
        "a red cat",
        "",
        "/scale 3", "/steps 1", "/seed 4", "/negative blurry", "/count 2",
        "two blue dogs",
        "/scheduler euler",
        "/steps 1",
        "/scale high", "/steps 101", "/seed", "/scheduler nope", "/tuned on", "/compare", "/tuned", "/dance", "x" * 1001,
        "/help", "/settings",
        "a bus",
        "/quit",
        "never read",
    )  # fmt: skip
    first, second, third, *last = recipes(folder)
    assert (first["prompt"], first["seed"], first["cfg"]["scale"]) == ("a red cat", 0, 7.5)  # type: ignore[index]
    assert first["scheduler"]["steps"] == 2  # type: ignore[index]
    assert [recipe["seed"] for recipe in (second, third)] == [4, 5]
    assert second["cfg"] == {**second["cfg"], "scale": 3.0, "negative_prompt": "blurry"}  # type: ignore[dict-item]
    assert (last[0]["prompt"], last[0]["scheduler"]["name"]) == ("a bus", "euler")  # type: ignore[index]
    assert len(last) == 2
    paths = re.findall(r"s: (/\S+\.png)", out)
    assert [Path(path) for path in paths] == sorted((folder / "images").glob("*.png"))
    for sentence in (
        "/scale high is no number.",
        "steps is 101; use 1 to 100.",
        "/seed needs a number, such as /seed 3.",
        "scheduler is nope; use ddim, ",
        "There is no tuned model here; start with weights=<run folder>.",
        "/dance is no command; use one of: /scale, ",
        "prompt has 1,001 characters; 1,000 are the most.",
        'base model, euler 1 steps, scale 7.5, seed 4, 2 x 64 pixels, negative "blurry"',
    ):
        assert sentence in out
    assert json.loads((folder / "metrics.json").read_text()) == {"pictures": 5.0}


def test_base_and_tuned_are_compared_with_one_seed(empty_lab: Lab, tuned_run: Path) -> None:
    out, folder = talk(empty_lab, "/seed 6", "/compare a red cat", "/tuned off", "a red cat", weights=tuned_run)
    base, changed, off = recipes(folder)
    assert (base["seed"], base["weights"], changed["seed"]) == (6, None, 6)
    assert Path(changed["weights"]["path"]) == tuned_run / "weights"  # type: ignore[index]
    assert off["pixels"] == base["pixels"] != changed["pixels"]
    assert "base model, dpmpp_2m 2 steps" in out


def test_braces_and_wildcards_in_a_typed_prompt_expand_as_in_generate(empty_lab: Lab) -> None:
    (empty_lab.root / "words").mkdir()
    (empty_lab.root / "words" / "colour.txt").write_text("mauve\n")
    out, folder = talk(
        empty_lab,
        "/steps 1",
        "a {red|blue} {cat|dog}",
        "a __colour__ bus",
        "a __shape__ bus",
        "{a|}",
        more=["wildcards=" + str(empty_lab.root / "words")],
    )
    assert [recipe["prompt"] for recipe in recipes(folder)] == [
        "a red cat", "a red dog", "a blue cat", "a blue dog", "a mauve bus",
    ]  # fmt: skip
    assert (
        "4 prompts; Ctrl-C gives up what is left" in out and "shape.txt" in out and "one of the prompts is empty" in out
    )


@pytest.mark.parametrize("size", [64, 512])
def test_a_picture_in_the_terminal_is_32_columns_wide(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from textual_image.renderable.halfcell import Image as HalfBlocks

    from t2i.web.console import _inline

    printed = io.StringIO()
    monkeypatch.setattr("textual_image.renderable.Image", HalfBlocks)
    monkeypatch.setattr("sys.stdout", printed)
    Image.new("RGB", (size, size)).save(tmp_path / "x.png")
    _inline(tmp_path / "x.png")
    assert {len(line.rstrip()) for line in printed.getvalue().splitlines()} == {32}


class Terminal:
    """task=prompt in a pseudo terminal."""

    def __init__(self, lab: Lab, *arguments: str) -> None:
        command = [sys.executable, str(PROJECT / "run.py"), *lab.places(False), *arguments]
        self.screen, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 640, 960))
        environment = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.process = subprocess.Popen(
            command, stdin=inner, stdout=inner, stderr=inner, env=environment, start_new_session=True
        )
        os.close(inner)
        os.set_blocking(self.screen, False)
        self.said = ""

    def until(self, words: str, seconds: float = 120) -> None:
        """Read until `words` were printed since the last call."""
        deadline = time.monotonic() + seconds
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            try:
                self.said += os.read(self.screen, 65536).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.05)
        self.said = self.said.partition(words)[2]

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.screen, text.encode())


@pytest.mark.skipif(sys.platform != "linux", reason="terminals work otherwise there")
def test_ctrl_c_gives_up_the_picture_only_and_ctrl_d_ends_with_zero(empty_lab: Lab) -> None:
    terminal = Terminal(empty_lab, "task=prompt", "scheduler.steps=100", "model.resolution=256")
    try:
        terminal.until("Enter your prompt:")
        terminal.type("a red cat\r")
        terminal.until("1/100")
        terminal.process.send_signal(signal.SIGINT)  # what the terminal sends for Ctrl-C while nobody reads keys
        terminal.until("given up")
        terminal.until("Enter your prompt:")
        terminal.type("half a prom\x03")
        terminal.until("Enter your prompt:")
        terminal.type("/size 64\r")
        terminal.until("1 x 64 pixels")
        terminal.type("/steps 1\r")
        terminal.until("dpmpp_2m 1 steps")
        terminal.type("a blue dog\r")
        terminal.until(".png")
        terminal.until("Enter your prompt:")
        terminal.type("\x04")
        terminal.until("run folder:")
        assert terminal.process.wait(timeout=30) == 0
    finally:
        terminal.process.kill()
        os.close(terminal.screen)
    (folder,) = empty_lab.folders()
    assert [recipe["prompt"] for recipe in recipes(folder)] == ["a blue dog"]
    assert "+a red cat" in (empty_lab.root / "prompts.history").read_text().splitlines()
