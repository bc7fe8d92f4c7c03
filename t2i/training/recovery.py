"""What a training does about gradients that are not finite and about memory that does not suffice."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from t2i.context import Run
from t2i.errors import UserError
from t2i.training.config import NonFinite, Optimizer, Training
from t2i.training.history import History
from t2i.training.memory import Portion
from t2i.training.parallel import Replicated

T = TypeVar("T")
MOST_SKIPPED = 10
"""Steps with a gradient that is not finite which `training.nonfinite=skip` lets pass in one training."""


class Recovery:
    """Goes on where that is sound, and says what helps where it is not."""

    def __init__(
        self, config: Training, run: Run, optimizer: Any, parallel: Replicated, remedy: Callable[[], str]
    ) -> None:
        """optimizer: prepared by accelerate. remedy: what helps against numbers that are not finite, as the end of a
        sentence.
        """
        self._config, self._run, self._optimizer, self._remedy = config, run, optimizer, remedy
        self._accelerator: Any = run.accelerator
        share = config.batch_size // self._accelerator.num_processes
        self.portion = Portion(config.micro_batch or share, self._fewer, halves=not parallel.in_step)
        # The fused update reads on the device whether it shall happen: asking here would wait for the device in every step.
        self.decided_on_device = (
            self._accelerator.device.type == "cuda"
            and self._accelerator.scaler is None
            and config.optimizer is Optimizer.adamw
            and not parallel.in_step  # its fused update takes no such answer for shards
        )
        self._half = "bf16" if parallel.in_step else "fp16"  # shards do not take the other one
        self._refused = torch.zeros((), device=self._accelerator.device)

    # -- memory ------------------------------------------------------------------------------------------------------

    def _fewer(self, size: int) -> None:
        """`size` pictures at a time from now on; the batch and its gradient stay what they are."""
        self._optimizer.zero_grad(set_to_none=True)
        self._run.say(f"out of memory: {size} pictures at a time from now on, in batches as large as before")

    def in_portions(self, work: Callable[[int], T]) -> T:
        """What `work` returns for as many pictures at a time as fit; UserError where a single one does not."""
        try:
            return self.portion.run(work)
        except torch.OutOfMemoryError as error:
            raise UserError(f"out of memory with {self.portion.size} pictures at a time; {self._smaller()}") from error

    def backward(self, loss: torch.Tensor, communicating: bool) -> None:
        """Gradients of a loss; `communicating` to the other processes meanwhile."""
        try:
            self._accelerator.backward(loss)
        except torch.OutOfMemoryError as error:
            if not communicating:
                raise
            raise UserError(  # the others already wait for this process's gradients: it cannot begin again
                f"out of memory with {self.portion.size} pictures at a time, while processes add up their gradients; "
                f"{self._smaller()}"
            ) from error

    def update(self) -> None:
        """The optimizer's step; its first one makes the moments, as large as the parameters or twice that."""
        try:
            self._optimizer.step()
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"out of memory in the step of training.optimizer={self._config.optimizer.value}, whose state does not fit; "
                "use training.optimizer=adafactor, adamw_8bit or sgd, or strategy=lora"
            ) from error

    def _smaller(self) -> str:
        return (
            f"use training.micro_batch={max(1, self.portion.size // 2)}, training.gradient_checkpointing=true or "
            f"launch.mixed_precision={self._half}"
        )

    # -- gradients that are not finite -------------------------------------------------------------------------------

    def refuses(self, norm: torch.Tensor, step: int, history: History) -> bool:
        """Whether a step with this norm of its gradient is known to be none, as far as that can be asked without waiting for
        the device. Raises UserError where the training is to stop at it.
        """
        if self.decided_on_device:
            refused = (~norm.isfinite()).float()
            self._optimizer.optimizer.found_inf = refused  # as a gradient scaler tells it
            self._refused += refused
            return False
        # In fp16 the scaler expects overflows: it skips such a step itself and lowers its scale.
        if self._accelerator.scaler is not None or bool(norm.isfinite()):
            return False
        self._refuse(step, history)
        return True

    def late(self, step: int, history: History) -> None:
        """The steps since the last look that the device left out, if any."""
        count = int(self._refused) if self.decided_on_device else 0
        self._refused.zero_()
        for _ in range(count):
            self._refuse(step, history)

    def _refuse(self, step: int, history: History) -> None:
        """A gradient that is not finite changes nothing: the training stops, or goes on without this step."""
        if self._config.nonfinite is NonFinite.stop:
            raise UserError(f"the gradient of step {step + 1} is not finite; {self._remedy()}")
        history.skipped.append(step + 1)
        if len(history.skipped) > MOST_SKIPPED:
            raise UserError(
                f"the gradients of {len(history.skipped)} steps were not finite, more than the {MOST_SKIPPED} that "
                f"training.nonfinite=skip lets pass; {self._remedy()}"
            )
        self._run.say(f"step {step + 1} skipped: its gradient is not finite")
