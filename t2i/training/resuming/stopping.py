"""When all processes of a training stop: at the same step, whichever of them got the signal."""

import os
from typing import Optional

import torch
from accelerate import Accelerator

from t2i.context import Run

KILLS_AFTER = 30
"""Seconds after a signal in which torch's launcher lets its workers finish, unless LONGER says otherwise."""
LONGER = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"


def warn_of_long_steps(run: Run, seconds: float) -> bool:
    """Say that a stop would come too late for a checkpoint, where steps of so many seconds are too long for torch's launcher;
    whether there was anything to say.
    """
    late = "TORCHELASTIC_RUN_ID" in os.environ and seconds > KILLS_AFTER / 2 and LONGER not in os.environ
    if late:
        run.say(
            f"a step takes {seconds:.0f} s, and torch's launcher ends processes {KILLS_AFTER} s after a signal, perhaps before "
            f"their checkpoint: export {LONGER}={max(300, round(4 * seconds))} before `accelerate launch`"
        )
    return late


class StopFlag:
    """The signal that any process got, known to all of them.

    On GPUs it is asked for in one step and read in the next, when it is there: reading it at once would make the host wait
    for the device in every step.
    """

    def __init__(self, run: Run, accelerator: Accelerator) -> None:
        self._run, self._accelerator = run, accelerator
        self._asked: Optional[tuple[torch.Tensor, torch.cuda.Event]] = None

    def look(self, at_once: bool) -> int:
        """The number of the signal, or 0; the same in every process, each of which has to ask at the same steps.

        at_once: what has arrived by now, although that means to wait for the device.
        """
        if self._accelerator.num_processes == 1:
            return self._run.pending_signal
        flag = torch.tensor([self._run.pending_signal])
        device = self._accelerator.device
        if device.type == "cuda":
            return self._late(flag.pin_memory().to(device, non_blocking=True), at_once)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return int(flag)

    def _late(self, flag: torch.Tensor, at_once: bool) -> int:
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        found = torch.empty(1, dtype=flag.dtype, pin_memory=True)
        found.copy_(flag, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        due, self._asked = self._asked, (found, arrived)
        signals = 0
        for value, event in [asked for asked in (due, self._asked if at_once else None) if asked is not None]:
            event.synchronize()
            signals = max(signals, int(value))
        return signals
