"""The processes of a run: how many there are, which one this is, and how they wait for and tell each other."""

import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger("t2i")
COLLECTIVE = timedelta(hours=1)
"""Until a process that waits for another one in a computation fails: longer than any step."""
ALONE = timedelta(hours=12)
"""The same where the main process works alone: it may prepare a large dataset for hours."""


def rank() -> int:
    """This process's number among those of the run (0 when there is one)."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes work on this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def device_type() -> str:
    """`cuda` or `cpu`, found without importing torch: part of what addresses a computed result."""
    if (
        os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
        or os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    ):
        return "cpu"
    return "cuda" if any(Path("/dev").glob("nvidia[0-9]*")) and "+cpu" not in metadata.version("torch") else "cpu"


CPUINFO = Path("/proc/cpuinfo")
MULTIPLIES_BF16 = ("amx_bf16", "avx512_bf16")
"""Instructions of a processor that multiply it, by the kernel's name for them; without one it is emulated."""


def bf16_instruction() -> str:
    """What this processor multiplies bf16 with; empty where it does not, or where nobody can tell."""
    if not CPUINFO.is_file():
        return ""
    flags = {
        word
        for line in CPUINFO.read_text(encoding="utf-8").splitlines()
        if line.startswith("flags")
        for word in line.split()
    }
    return next((name for name in MULTIPLIES_BF16 if name in flags), "")


def say(line: str) -> None:
    """A line for the person who waits, and for run.log; of the main process."""
    if rank() == 0:
        log.info(line)


DETAIL = 15
"""Level of what a pipeline, which has much to say, keeps for run.log; single tasks show it."""
logging.addLevelName(DETAIL, "DETAIL")


def detail(line: str) -> None:
    """The same of what is no news to somebody who waits for a whole pipeline."""
    if rank() == 0:
        log.log(DETAIL, line)


@dataclass
class Processes:
    """Devices, precision and communication."""

    mixed_precision: str = "no"
    shard: bool = False
    """Whether several processes share one copy of what trains (`launch.shard`)."""

    @cached_property
    def accelerator(self) -> "Accelerator":
        """Devices, precision and communication; made at first use, since many tasks need none (torch takes seconds)."""
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

        if world_size() > 1 and device_type() == "cuda":
            from accelerate.utils import check_cuda_p2p_ib_support

            if (
                not check_cuda_p2p_ib_support()
            ):  # accelerate refuses such cards without these, and its launcher sets them
                os.environ |= {"NCCL_P2P_DISABLE": "1", "NCCL_IB_DISABLE": "1"}
        # Buffers are constants here, and DDP would send them in every forward pass: one that is repeated for want of memory
        # would wait for processes that do not repeat theirs.
        ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
        # The new name of the switch would still send them once, and older versions do not know it.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return Accelerator(
            mixed_precision=self.mixed_precision, kwargs_handlers=[InitProcessGroupKwargs(timeout=COLLECTIVE), ddp]
        )

    @cached_property
    def _patient(self) -> Any:
        """The processes again, with the patience for what the main one does alone."""
        import torch

        return torch.distributed.new_group(timeout=ALONE)

    def barrier(self) -> None:
        """Wait for the other processes of this run."""
        if world_size() > 1 and self.accelerator.num_processes > 1:
            import torch

            devices = [torch.cuda.current_device()] if self.accelerator.device.type == "cuda" else None
            torch.distributed.barrier(self._patient, device_ids=devices)

    def tell(self, find: Callable[[], Any]) -> Any:
        """What `find` returns in the main process, in every process: if each looked for itself, they might see different
        things.
        """
        if world_size() == 1:
            return find()
        from accelerate.utils import broadcast_object_list

        assert self.accelerator is not None  # with it, the group exists
        told = [find() if rank() == 0 else None]
        broadcast_object_list(told)
        return told[0]
