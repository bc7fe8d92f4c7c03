"""A CLIP of a few thousand parameters and pictures to tune it on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t2i.context import Run
from t2i.randomness import generator
from t2i.training.contrastive.config import ClipTuning
from t2i.training.contrastive.loop import Tuner
from t2i.training.contrastive.pairs import Pairs
from t2i.training.contrastive.towers import start

from ...evaluation.conftest import SIZE, toy_clip
from ...models.toy import run, store

__all__ = ["run", "store", "toy_clip"]


def pairs(name: str, count: int) -> Pairs:
    """Random pictures of which every third has the same captions."""
    pixels = generator("clip picture", name).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    captions = [[f"a cat {i % 3}", f"picture of cat {i % 3}"] for i in range(count)]
    return Pairs([f"{name}-{i}" for i in range(count)], captions, pixels)  # type: ignore[arg-type]


def tuning(**changes: object) -> ClipTuning:
    """Two epochs of three batches of four pairs."""
    values = {"batch_size": 4, "epochs": 2, "warmup": 1, "learning_rate": 1e-3}
    return ClipTuning(**values | changes)  # type: ignore[arg-type]


Start = Callable[..., Tuner]


@pytest.fixture
def tuner(toy_clip: Path, run: Run, tmp_path: Path) -> Start:
    """Builds a tuning as task=clip does; `folder` is where it may resume."""

    def build(config: ClipTuning, folder: str = "clip") -> Tuner:
        (tmp_path / folder).mkdir(exist_ok=True)
        return Tuner(config, start(config, toy_clip), run, pairs("train", 13), pairs("held_out", 5), tmp_path / folder)

    return build
