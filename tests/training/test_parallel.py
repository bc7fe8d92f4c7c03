"""Shards of a model in several processes train as one process with the whole of it."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from t2i.processes import Processes
from t2i.training import shards
from t2i.training.config import LearningRate, Training
from t2i.training.loop import Trainer

from .conftest import STRATEGIES, Start, log_of, training
from .processes import in_processes

CONFIG = training(
    steps=4, batch_size=6, micro_batch=2, ema=0.9, clip_norm=0.5, caption_dropout=0.2, schedule=LearningRate.cosine,
    save_every=2, held_out_images=3,
)  # fmt: skip


def sharded(start: Start, name: str, config: Training, folder: str, count: int, precision: str = "no") -> None:
    def work() -> None:
        trainer = start(STRATEGIES[name], config, folder, precision, shard=True)
        numbers = trainer.fit()
        trainer.release()
        trainer.parallel.gather(trainer.models, trainer.strategy)
        if trainer.run.main:
            trainer.strategy.save(trainer.models, trainer.folder)
            print(numbers)
    assert in_processes(count, work) == [0] * count


@pytest.mark.parametrize("name", ["unet", "both"])
def test_two(start: Start, name: str, tmp_path: Path) -> None:
    one = start(STRATEGIES[name], CONFIG, "one")
    one.fit()
    one.strategy.save(one.models, one.folder)
    for n in (2, 3):
        sharded(start, name, CONFIG, f"n{n}", n)
        a, b = (load_file(tmp_path / f / "weights.safetensors") for f in ("one", f"n{n}"))
        assert set(a) == set(b)
        print(n, max(float((a[k] - b[k]).abs().max()) for k in a), max(float((a[k]).abs().max()) for k in a))
    print((tmp_path / "one" / "train_log.csv").read_text())
    print((tmp_path / "n2" / "train_log.csv").read_text())
    print((tmp_path / "n3" / "train_log.csv").read_text())
