"""The processes of one run on one machine: started, told of a signal once, and ended together.

torch's launcher ends whoever has not stopped 30 s after a signal - a long step never saves -, tells workers of signals that
they have already, and leaves them alive when it is killed. This one waits for the checkpoint, and nobody outlives it.
"""

import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Optional

from t2i.context import FROZEN
from t2i.errors import ConfigError, LeftAlone, UserError
from t2i.interruption import Arrivals, Interrupted
from t2i.places import CHECKOUT, PROJECT

STATUS = "status.json"
"""In a run folder: how the run ended, and with which sentence."""
GRACE = 60.0
"""Seconds between telling the other workers that one has left, and ending them: they may wait for it in a collective
operation, where no signal reaches them, or write their record."""
LOOK = 0.05
"""Seconds between two looks at the workers."""
ELASTIC = "TORCHELASTIC_RUN_ID"
"""Environment variable that torch's launcher gives its workers."""
log = logging.getLogger("t2i")


def run(folder: Path, frozen: Path, count: int, precision: str) -> None:
    """Run the frozen job in `count` processes until all have ended.

    Raises Interrupted after a signal, and the sentence of the worker that failed. What the run's own record says counts:
    a process that dies after a run has recorded its end does not change it.
    """
    workers = _start(frozen, count, precision)
    with _forwarding(workers) as received:
        first = _watch(workers)
    state = _state(folder / STATUS)
    if state.get("status") == "FINISHED":
        return
    error = failure(folder)
    if received and (error is None or isinstance(error, LeftAlone)):  # who leaves first leaves the others alone
        raise Interrupted(received[0])
    killed = (
        first is not None and workers[first].returncode < 0
    )  # which leaves no sentence; who missed it says no reason
    if error is not None and not (killed and isinstance(error, LeftAlone)):
        raise error
    if first is not None:
        raise UserError(
            f"process {first} of {count} {_end(workers[first].returncode)}; see the messages above and {folder / 'run.log'}, and "
            "repeat the command: a training goes on from its newest checkpoint"
        )


def failure(folder: Path) -> Optional[UserError]:
    """The sentence that a worker left about its failure: of the first that failed, as the others miss it and fail too."""
    paths = [folder / STATUS, *folder.glob(f"rank_*_{STATUS}")]
    found = [(path.stat().st_mtime_ns, _state(path)) for path in paths if path.exists()]
    failed = [(state.get("alone", False), when, state) for when, state in found if "error" in state]
    if not failed:
        return None
    alone, _, state = min(failed, key=lambda entry: entry[:2])
    kind = LeftAlone if alone else ConfigError if state["exit"] == ConfigError.status else UserError
    return kind(state["error"])


def _state(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # not there, or a disk that was full
        return {}
    return state


def _start(frozen: Path, count: int, precision: str) -> list["subprocess.Popen[bytes]"]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        FROZEN: str(frozen),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "ACCELERATE_MIXED_PRECISION": precision,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        common["ACCELERATE_USE_CPU"] = "true"  # without it, a machine without GPUs counts as one process
    command = [sys.executable, *([str(PROJECT / "run.py")] if CHECKOUT else ["-m", "t2i"])]
    # Sessions of their own: what a terminal sends to everybody reaches them once, through this process.
    return [
        subprocess.Popen(
            command,
            env={**os.environ, **common, "RANK": str(number), "LOCAL_RANK": str(number)},
            start_new_session=True,
        )
        for number in range(count)
    ]


@contextmanager
def _forwarding(workers: Sequence["subprocess.Popen[bytes]"]) -> Iterator[list[int]]:
    """The signals that arrive meanwhile: the first is passed on, and its step may take as long as it takes; a second one
    ends the workers.
    """
    received: list[int] = []
    arrivals = Arrivals()

    def forward(number: int, frame: Any) -> None:
        if arrivals.again():
            return
        sent = signal.SIGKILL if arrivals.second else number
        received.append(number)
        for worker in workers:
            worker.send_signal(sent)

    earlier = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _watch(workers: Sequence["subprocess.Popen[bytes]"]) -> Optional[int]:
    """Until all have ended; when one fails the others are told, and ended if that does not help. Returns who was at fault:
    whom a signal ended that did not come from here - the others miss it and fail, sometimes before it is seen -, or the
    first that ended with another status than 0.
    """
    first, deadline, ended_here = None, math.inf, False
    while None in [worker.poll() for worker in workers]:  # all are asked, whoever is still there
        time.sleep(LOOK)
        if first is None and (first := _failed(workers)) is not None:
            deadline = time.monotonic() + GRACE
            for worker in workers:
                worker.send_signal(signal.SIGTERM)
        elif time.monotonic() > deadline:
            ended_here = True
            for worker in workers:
                worker.kill()
    sent = {signal.SIGTERM} if first is not None else set()
    if ended_here:
        sent.add(signal.SIGKILL)
    own = [number for number, worker in enumerate(workers) if worker.returncode < 0 and -worker.returncode not in sent]
    return own[0] if own else _failed(workers) if first is None else first


def _failed(workers: Sequence["subprocess.Popen[bytes]"]) -> Optional[int]:
    """The first of those that have ended with another status than 0 by now."""
    return next((number for number, worker in enumerate(workers) if worker.returncode), None)


def _end(status: int) -> str:
    """How a process ended, in words."""
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return how + (" (out of memory?)" if status == -signal.SIGKILL else "")


# -- in a worker -----------------------------------------------------------------------------------------------------


def follow() -> None:
    """End this process when the one that started it is gone: nobody else would."""
    if FROZEN not in os.environ and ELASTIC not in os.environ:
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def leave(status: int) -> NoReturn:
    """End this process, which is one of several.

    Threads of the communication that nobody has ended abort an interpreter that ends: the group is destroyed when all are
    well, and the process leaves without taking the interpreter apart.
    """
    if status == 0 and "torch" in sys.modules:
        import torch

        if torch.distributed.is_initialized():
            try:
                torch.distributed.barrier()
                torch.distributed.destroy_process_group()
            except RuntimeError as error:  # another one died after the run was recorded
                log.warning("left without the other processes (%s)", str(error).splitlines()[0])
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def refuse_sharding() -> None:
    """A model is spread by t2i itself: what it keeps is whole, for any number of processes."""
    for variable, name in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")):
        if os.environ.get(variable, "").lower() in ("1", "true"):
            raise ConfigError(
                f"accelerate is told to use {name}, and t2i spreads a model itself: use accelerate launch --multi_gpu "
                "(conf/accelerate) with launch.shard=true, or strategy=lora, which needs less memory"
            )
