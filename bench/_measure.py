"""What every measurement needs: turns, a clock, and ratios with their spread."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def clock(device: str) -> float:
    """Seconds. On a CPU those that this process was given: others' load on a shared machine does not count."""
    if device != "cuda":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(
    candidates: Mapping[str, Callable[[], object]], rounds: int, device: str, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round: A B C, A B C, ...; the first `warm_up` rounds are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(warm_up + rounds):
        for name, candidate in candidates.items():
            start = clock(device)
            candidate()
            taken = clock(device) - start
            if number >= warm_up:
                seconds[name].append(taken)
                print(f"round {number - warm_up + 1}: {name} {taken:.3f} s", flush=True)
    return seconds


def ratio(peer: Sequence[float], ours: Sequence[float]) -> dict[str, Any]:
    """How many times faster than the peer: the median of the rounds' ratios, and their range."""
    ratios = [theirs / mine for theirs, mine in zip(peer, ours, strict=True)]
    return {"median": round(statistics.median(ratios), 3), "range": [round(min(ratios), 3), round(max(ratios), 3)]}
