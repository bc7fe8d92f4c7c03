"""What a training consists of between two steps, made from its configuration."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler

from t2i.context import Run
from t2i.models.blocks import compile_blocks
from t2i.models.parts import Models
from t2i.training import noise, optimizers
from t2i.training.config import Prior, Training
from t2i.training.dataset import LatentSet
from t2i.training.keeping import TrainingKeeper
from t2i.training.objective import Denoiser, objective_of
from t2i.training.optimizers import MovingAverage
from t2i.training.parallel import parallel_of
from t2i.training.prior import BasePrediction, Pictures
from t2i.training.recovery import Recovery
from t2i.training.resuming.lines import Lines
from t2i.training.resuming.stopping import StopFlag
from t2i.training.strategies import Strategy

LOG_COLUMNS = ("step", "epoch", "loss", "gradient_norm", "learning_rate", "images_per_second", "memory_mb", "samples")

PRIOR_LOSS = "prior_loss"
"""A column of trainings with a prior: its part of the loss, before its weight."""


@dataclass
class State:
    """Networks with their strategy attached, cached data, optimizer and schedule, and the folder they may resume in."""

    config: Training
    strategy: Strategy
    models: Models
    run: Run
    train_set: Pictures
    held_out: LatentSet
    folder: Path
    identity: dict[str, Any] = field(default_factory=dict)
    """What the weights are a function of, as flat JSON values: a checkpoint of another identity is refused."""
    observe: Callable[[int], dict[str, float]] | None = None
    """Called by every process at step 0, at every checkpoint and at the end, with the weights that would be exported in
    place; the numbers it returns in the main process are recorded."""

    def __post_init__(self) -> None:
        self.accelerator: Accelerator = self.run.accelerator
        self.parallel = parallel_of(self.run)
        self.device = self.accelerator.device
        self.dtype = self.models.dtype
        self.stop = StopFlag(self.run, self.accelerator)
        self.parameters = self.strategy.trainable(self.models)
        noise.settle(self.config, self.models)
        self.objective = objective_of(self.models, self.config)
        self.total = self.config.total_steps(len(self.train_set))
        self.module = Denoiser(self.models, self.strategy.trains_text).train()
        self._economise()
        self.base: BasePrediction | None = None
        if self.config.prior is Prior.base:  # now: the weights are the model's, whatever is gone on from
            self.base = BasePrediction(self.module, self.strategy.untrained(self.models), self.accelerator.autocast)
        self.average = MovingAverage(self.parameters, self.config.ema) if self.config.ema is not None else None
        self.denoiser = self.parallel.prepare(self.module)
        self.optimizer = self.accelerator.prepare(
            optimizers.build(self.config, self.strategy, self.parameters, self.device)
        )
        self.schedule = get_scheduler(
            self.config.schedule.value if self.config.schedule.value != "constant" else "constant_with_warmup",
            self.optimizer.optimizer if hasattr(self.optimizer, "optimizer") else self.optimizer,
            num_warmup_steps=self.config.warmup_steps(self.total),
            num_training_steps=self.total,
        )
        self.recovery = Recovery(self.config, self.run, self.optimizer, self.parallel, self._remedy)
        self.keeper = TrainingKeeper(
            run=self.run,
            folder=self.folder / "checkpoints",
            lines=Lines(self.folder / "train_log.csv", (*LOG_COLUMNS, *([PRIOR_LOSS] if self.config.prior else []))),
            total=self.total,
            parameters=self.parameters,
            optimizer=self.optimizer,
            schedule=self.schedule,
            remedy=self._remedy,
            background=self.device.type != "cpu",
            config=self.config,
            average=self.average,
        )

    def _economise(self) -> None:
        """Memory and time by how the denoiser computes; what it computes stays."""
        if self.config.gradient_checkpointing:
            self.models.denoiser.enable_gradient_checkpointing()
        if self.config.attention_slicing:
            self.models.denoiser.set_attention_slice("auto")
        if self.config.channels_last:
            self.models.denoiser.to(memory_format=torch.channels_last)
        if self.config.compile:
            compile_blocks(self.models.denoiser)

    def _remedy(self) -> str:
        rate = self.strategy.learning_rate
        return f"use a smaller strategy.learning_rate (now {rate}) or launch.mixed_precision=no"

    def release(self) -> None:
        """Free the optimizer's state, the gradients and what processes exchange them through: what follows the last step
        needs the room.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.optimizer.state.clear()
        if self.average is not None:
            self.average.values.clear()
        self.denoiser = self.module
        self.accelerator.free_memory()
