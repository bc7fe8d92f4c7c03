"""The toy model with pictures to train on, and trainings of a few steps."""

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from t2i.context import Run
from t2i.models.config import Model
from t2i.models.load import Models
from t2i.processes import Processes
from t2i.randomness import generator
from t2i.store import Stage, Store, digest_of
from t2i.training.attention import Attn2, Attn2KV, Attn2ToV
from t2i.training.config import LearningRate, Prior, Training
from t2i.training.dataset import LatentSet, latent_set
from t2i.training.inversion import TextualInversion
from t2i.training.loop import Trainer
from t2i.training.lora import Lora
from t2i.training.parallel import parallel_of
from t2i.training.prior import Preserved, of_captions, of_pictures
from t2i.training.strategies import Both, Strategy, TextEncoder, UNet
from t2i.training.text_adapter import TextAdapter

from ..models.toy import RESOLUTION, loaded, models, run, store, toy, wider_toy

__all__ = ["loaded", "models", "run", "store", "toy", "wider_toy"]

RATE = 1e-3
WORD = "<subject>"
"""What strategies that teach words teach; pieces of a word for the others."""
STRATEGIES = {  # of a U-Net; those of a transformer are in test_flow.py
    "attn2_to_v": Attn2ToV(learning_rate=RATE),
    "attn2_kv": Attn2KV(learning_rate=RATE),
    "attn2": Attn2(learning_rate=RATE),
    "both": Both(learning_rate=RATE),
    "lora": Lora(learning_rate=RATE),
    "text_adapter": TextAdapter(learning_rate=RATE),
    "text_encoder": TextEncoder(learning_rate=RATE),
    "textual_inversion": TextualInversion(learning_rate=RATE, placeholders=[WORD]),
    "unet": UNet(learning_rate=RATE),
}
CLASS = ["a cat", "a bus in the snow", "two cakes"]
"""Regularisation captions of a training with a prior."""
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16}


@dataclass
class Pictures:
    """A split of prepared data: random pictures with two captions each."""

    name: str
    ids: list[str]
    captions: list[list[str]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sizes(self) -> np.ndarray:
        """Width and height of every picture."""
        return np.full((len(self), 2), RESOLUTION, np.int32)

    @property
    def originals(self) -> np.ndarray:
        """Of files half as large again on one side, and twice on the other."""
        return np.array([(RESOLUTION * 3 // 2 + i, RESOLUTION * 2) for i in range(len(self))], np.int32).reshape(-1, 2)

    def corner(self, index: int) -> tuple[int, int]:
        """Left and top."""
        return index, 3

    def encoded(self, index: int) -> bytes:
        """Stands for the picture's file."""
        return self.pixels([index]).tobytes()

    def pixels(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 (N, 16, 16, 3)."""
        shape = (RESOLUTION, RESOLUTION, 3)
        return np.stack([generator(self.ids[i]).integers(0, 256, shape, dtype=np.uint8) for i in indices])


def pictures(name: str, count: int) -> Pictures:
    """`count` pictures whose ids begin with `name`."""
    kinds = ["a red cat", "two buses", "a cake on a table"]
    captions = [[f"{kinds[i % 3]} number {i} {WORD}", f"picture {i} of {kinds[i % 3]} {WORD}"] for i in range(count)]
    return Pictures(name, [f"{name}-{i}" for i in range(count)], captions)


def latents(
    models: Models,
    store: Store,
    split: Pictures,
    text_trains: bool = False,
    flip: bool = False,
    more: Sequence[str] = (),
    **changes: object,
) -> LatentSet:
    """The split as training reads it, through the store."""
    data = digest_of([[split.ids[i], split.encoded(i).hex()] for i in range(len(split))])
    prepared = Stage("prepared", data, store.root, reused=True)
    config = training(**changes)
    return latent_set(store, prepared, split, models, config, text_trains, flip, torch.device("cpu"), more)  # type: ignore[arg-type]


def training(**changes: object) -> Training:
    """Three plain steps of four pictures, every one of them logged."""
    values = {"steps": 3, "batch_size": 4, "warmup": 0, "schedule": LearningRate.constant, "log_every": 1}
    return Training(**values | {"held_out_images": 2, "save_every": 1000} | changes)  # type: ignore[arg-type]


def log_of(trainer: Trainer) -> list[dict[str, str]]:
    """The rows of train_log.csv."""
    with open(trainer.folder / "train_log.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


Start = Callable[..., Trainer]


@pytest.fixture
def start(toy: Model, loaded: Callable[[Model], Models], run: Run, tmp_path: Path) -> Start:
    """Builds a trainer as task=train does; `folder` is where it may resume."""
    seen = [os.getpid()]

    def build(
        strategy: Strategy, config: Training, folder: str = "training", precision: str = "no", shard: bool = False
    ) -> Trainer:
        wanted, here = Processes(precision, shard), os.getpid()
        if wanted != run.processes or here not in seen:  # accelerate keeps one precision for a whole process
            seen[:] = [here]
            AcceleratorState._reset_state(reset_partial_state=True)
            run.processes = wanted
        models = loaded(toy)
        strategy.attach(models)
        parallel_of(run).place(models, strategy, DTYPES[precision])
        text_trains = strategy.trains_text
        own = {key: value for key, value in vars(config).items() if key != "flip"}
        sets: list[Any] = [
            latents(models, run.store, pictures(name, n), text_trains, False, CLASS if config.prior else (), **own)
            for name, n in (("train", 10), ("held_out", 3))
        ]
        if config.prior is Prior.base:
            sets[0] = Preserved(sets[0], of_captions(sets[0], CLASS))
        elif config.prior is Prior.pictures:
            drawn = latents(models, run.store, pictures("class", 6), text_trains, **{**own, "cache_text": False})
            sets[0] = Preserved(
                sets[0], of_pictures(replace(drawn, captions=[[CLASS[i % 3]] for i in range(6)]), sets[0])
            )
        (tmp_path / folder).mkdir(exist_ok=True)  # by whichever process is first
        return Trainer(config, strategy, models, run, *sets, tmp_path / folder)

    return build
