"""A training that is killed at any moment, inside a save too, ends with the bits of one that was not."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from t2i.randomness import generator
from t2i.training.config import LearningRate
from t2i.training.loop import Trainer
from t2i.training.resuming import checkpoints

from .conftest import STRATEGIES, Start, log_of, training

STEPS, EVERY = 60, 5
CONFIG = training(
    steps=STEPS, save_every=EVERY, batch_size=3, ema=0.9, caption_dropout=0.2, schedule=LearningRate.cosine, warmup=5
)
COLUMNS = ("step", "epoch", "loss", "gradient_norm", "learning_rate", "samples")


def rows(trainer: Trainer) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in COLUMNS) for row in log_of(trainer)]


def logged(folder: Path) -> int:
    """The last step of train_log.csv, 0 when there is none."""
    path = folder / "train_log.csv"
    lines = path.read_text().splitlines() if path.exists() else []
    steps = [line.split(",")[0] for line in lines[1:] if line.count(",") == len(lines[0].split(",")) - 1]
    return int(steps[-1]) if steps else 0


def forked(start: Start, folder: str, slow_save: bool) -> int:
    """The training in a forked process (nothing is imported again); returns its process id.

    slow_save: its first save waits before the rename, so that it can be killed inside.
    """
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        if slow_save:
            checkpoints.os.rename = lambda *paths: time.sleep(60)  # type: ignore[attr-defined]
        start(STRATEGIES["lora"], CONFIG, folder).fit()
        status = 0
    finally:
        os._exit(status)


def kill_while(child: int, folder: Path, inside_a_save: bool, wait: float) -> bool:
    """SIGKILL after `wait` seconds, or as soon as a save has begun; whether it hit a living process."""
    end = time.monotonic() + 60
    saves = folder / "checkpoints"
    while inside_a_save and not list(saves.glob(".step_*.partial/*")) and time.monotonic() < end:
        time.sleep(0.002)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(
    ("kills", "inside"), [(4, 1), pytest.param(25, 8, marks=pytest.mark.slow)], ids=["4 kills", "25 kills"]
)
def test_killed_at_any_moment_it_ends_with_the_same_bits(start: Start, tmp_path: Path, kills: int, inside: int) -> None:
    straight = start(STRATEGIES["lora"], CONFIG, "straight")
    began = time.monotonic()
    straight.fit()
    length = time.monotonic() - began
    folder = tmp_path / "killed"
    g = generator("kill test", kills)
    hits = 0
    for number in range(kills):
        in_a_save = number % (kills // inside) == 0
        before = logged(folder)
        child = forked(start, "killed", in_a_save)
        # later and later, so that the training gets on in spite of the kills
        hits += kill_while(child, folder, in_a_save, float(g.uniform(0.01, 0.05 if in_a_save else 2 * length / kills)))
        saved = checkpoints.steps(folder / "checkpoints")
        done = logged(folder)
        assert done - (saved[-1] if saved else 0) <= EVERY, "at most one save interval is done again"
        assert done >= before - EVERY
    assert hits >= kills // 2, "the kills came too late to mean anything"
    again = start(STRATEGIES["lora"], CONFIG, "killed")
    again.fit()
    assert rows(again) == rows(straight) and len(rows(again)) == STEPS
    for name, parameter in again.parameters.items():
        assert torch.equal(parameter, straight.parameters[name]), name
    assert again.average is not None and straight.average is not None
    assert all(torch.equal(again.average.values[name], value) for name, value in straight.average.values.items())
    assert not [path for path in folder.rglob(".*") if path.is_dir()], "no stray temporary folder"


def test_the_straight_run_is_not_the_same_for_another_seed(start: Start) -> None:
    one, two = (start(STRATEGIES["lora"], replace(CONFIG, steps=5, seed=seed), f"seed {seed}") for seed in (0, 1))
    one.fit()
    two.fit()
    assert rows(one) != rows(two)
