"""How a training keeps what it has done: saved whole, found again, put back, and left behind when it is told to stop."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Optional

import torch

from t2i.context import Run
from t2i.errors import UserError
from t2i.interruption import Interrupted
from t2i.training import shards
from t2i.training.resuming import checkpoints, restoring
from t2i.training.resuming.checkpoints import Checkpoint
from t2i.training.resuming.lines import Lines


@dataclass(kw_only=True)
class Keeper:
    """The checkpoints of one training, and its log, which never runs ahead of them."""

    run: Run
    folder: Path
    """Of the checkpoints."""
    lines: Lines
    total: int
    """Steps of the whole training."""
    parameters: Mapping[str, torch.Tensor]
    optimizer: Any
    schedule: Any
    remedy: Callable[[], str]
    """What helps against numbers that are not finite, as the end of a sentence."""
    background: bool = False
    """The training goes on while a checkpoint is on its way to the disk."""

    def __post_init__(self) -> None:
        self.scaler: Any = self.run.accelerator.scaler
        self._writer = checkpoints.Writer(self.background)

    def at(self, step: int) -> Path:
        """Where the checkpoint of a step is, if it was kept."""
        return self.folder / f"step_{step:08d}"

    def save(
        self,
        step: int,
        facts: Mapping[str, Any],
        keep: int,
        average: Mapping[str, torch.Tensor] | None = None,
        protect: Collection[int] = (),
        more: str = "",
    ) -> None:
        """A checkpoint, every process's wait for it included; `more` ends the line that says so.

        Raises UserError where a weight is not finite: such weights are worth nothing, and may not replace others.
        """
        if (name := shards.not_finite(self.parameters)) is not None:
            raise UserError(f"{name} is no longer finite; {self.remedy()}")
        state = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler is not None else {},
        }
        # Copies where they were shards: the writer needs no others.
        write = self._writer.hand_over if shards.is_sharded(self.parameters) else self._writer.save
        parameters, state, average = shards.whole([self.parameters, state, average], keep=self.run.main)
        if self.run.main:
            write(self.folder, step, parameters, state, facts, keep, average, protect)
            self.run.detail(f"checkpoint at step {step} of {self.total}{more}")
        self.run.barrier()

    def newest(self) -> Optional[int]:
        """The step of the newest intact checkpoint."""
        found = checkpoints.newest(self.folder)
        return found.step if found is not None else None

    def find(self) -> Checkpoint | None:
        """The checkpoint that an interrupted training goes on from, the same one in every process."""
        step = self.run.tell(self.newest)
        return checkpoints.read(self.at(step)) if step is not None else None

    def restore(self, found: Checkpoint) -> None:
        """Put back what `save` kept."""
        restoring.restore(found, self.parameters, self.optimizer, self.schedule, self.scaler)

    def begin(self, found: Checkpoint | None) -> int:
        """The first step to do, whatever is to be put back being in place; the log is cut back to it."""
        if found is not None:
            self.run.say(f"resumed from the checkpoint of step {found.step}")
        step = found.step if found is not None else 0
        self.run.barrier()  # everybody has read before the main process writes
        if self.run.main:
            self.lines.cut(step)
        self.run.barrier()
        return step

    def wait(self) -> None:
        """Until every checkpoint is on the disk."""
        self._writer.wait()

    def leave(self, signal: int) -> NoReturn:
        """End a training that was told to stop; raises Interrupted."""
        self.wait()
        self.run.barrier()  # nobody leaves before the checkpoint is on the disk: the others would be ended
        raise Interrupted(signal)
