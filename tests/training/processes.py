"""Work in several forked processes that talk through gloo: nothing is imported again."""

import os
import socket
import sys
import traceback
from collections.abc import Callable

from accelerate.state import AcceleratorState


def in_processes(count: int, work: Callable[[], object]) -> list[int]:
    """`work` in each of `count` processes of one run; their exit statuses, 0 where it returned."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if child:
            children.append(child)
            continue
        status = 1
        try:
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
            }  # fmt: skip
            AcceleratorState._reset_state(reset_partial_state=True)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
