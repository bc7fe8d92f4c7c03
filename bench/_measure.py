"""What every measurement needs: turns, a clock, ratios with their spread, ceilings of the machine, and profiles."""

import cProfile
import os
import pstats
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

LINES = 10
"""Lines of a profile that are kept."""


def clock(device: str) -> float:
    """Seconds. On a CPU those that this process was given: others' load on a shared machine does not count."""
    if device != "cuda":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def timed(work: Callable[[], Any], device: str = "cpu") -> tuple[float, Any]:
    """Seconds on the `clock`, and what the work returned."""
    start = clock(device)
    found = work()
    return clock(device) - start, found


def in_turns(
    candidates: Mapping[str, Callable[[], object]], rounds: int, device: str, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round: A B C, A B C, ...; the first `warm_up` rounds are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(warm_up + rounds):
        for name, candidate in candidates.items():
            taken, _ = timed(candidate, device)
            if number >= warm_up:
                seconds[name].append(taken)
                print(f"round {number - warm_up + 1}: {name} {taken:.3f} s", flush=True)
    return seconds


def ratio(peer: Sequence[float], ours: Sequence[float]) -> dict[str, Any]:
    """How many times faster than the peer: the median of the rounds' ratios, and their range."""
    ratios = [theirs / mine for theirs, mine in zip(peer, ours, strict=True)]
    return {"median": rounded(statistics.median(ratios)), "range": [rounded(min(ratios)), rounded(max(ratios))]}


def rounded(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")


class Ceilings:
    """What the machine reaches when nothing else is asked of it: large matrix products, and a large copy.

    On a CPU there are three routes to a product - torch's matmul (MKL on x86), oneDNN's linear layer with its weights in
    oneDNN's own order, oneDNN's convolution with channels last -, and which is the quickest differs from one processor to the
    next: the limit is the best of them. They take their turns among the rounds, since a shared machine is not equally fast at
    all times.
    """

    def __init__(self, device: str, dtype: Any) -> None:
        import torch

        side, words = (8192, 2**28) if device == "cuda" else (1024, 2**24)
        matrix = torch.randn(side, side, device=device, dtype=dtype)
        self._routes: dict[str, tuple[Callable[[], object], int]] = {"matmul": (lambda: matrix @ matrix, 2 * side**3)}
        if device == "cpu" and dtype is torch.float32:
            self._routes |= _onednn(side)
        self._source = torch.zeros(words, device=device)
        self._target = torch.empty_like(self._source)
        self.bytes = 2 * 4 * words

    def copy(self) -> None:
        """Ten copies, `bytes` read and written each."""
        for _ in range(10):
            self._target.copy_(self._source)

    def turns(self) -> dict[str, Callable[[], object]]:
        """Candidates for `in_turns`: each route ten times."""
        return {**{name: partial(_ten_times, work) for name, (work, _) in self._routes.items()}, "copy": self.copy}

    def share(self, seconds: Mapping[str, Sequence[float]], name: str, flops: int) -> dict[str, Any]:
        """Which share of the best route's rate the candidate `name` reached, which computes `flops` in a turn."""
        by_route = {route: [10 * each / s for s in seconds[route]] for route, (_, each) in self._routes.items()}
        rates = [max(of_round) for of_round in zip(*by_route.values(), strict=True)]
        medians = {route: statistics.median(values) for route, values in by_route.items()}
        shares = [flops / taken / rate for taken, rate in zip(seconds[name], rates, strict=True)]
        return {
            "median": rounded(statistics.median(shares)),
            "range": [rounded(min(shares)), rounded(max(shares))],
            "counted_gflop": rounded(flops / 1e9),
            "limit_by": max(medians, key=lambda route: medians[route]),
            "limits_gflop_per_s": {route: rounded(value / 1e9) for route, value in medians.items()},
            "copy_gb_per_s": rounded(10 * self.bytes / statistics.median(seconds["copy"]) / 1e9),
        }


def _ten_times(work: Callable[[], object]) -> None:
    for _ in range(10):
        work()


def _onednn(side: int) -> dict[str, tuple[Callable[[], object], int]]:
    """Routes to oneDNN in float32, and the operations of each."""
    import torch
    from torch.utils.mkldnn import to_mkldnn

    linear = to_mkldnn(torch.nn.Linear(side, side, bias=False).eval())
    rows = torch.randn(side, side).to_mkldnn()
    channels, pixels = side // 4, 32
    convolution = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    convolution.requires_grad_(False)
    planes = torch.randn(8, channels, pixels, pixels).to(memory_format=torch.channels_last)
    return {
        "onednn linear": (lambda: linear(rows), 2 * side**3),
        "onednn convolution": (lambda: convolution(planes), 2 * 9 * len(planes) * pixels**2 * channels**2),
    }


def counted_flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the products, convolutions and attentions in `work`, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def profile(work: Callable[[], object]) -> list[str]:
    """Where Python functions, and what they call in LAPACK and the like, spend their time: share and name."""
    recorder = cProfile.Profile(time.process_time)
    recorder.runcall(work)
    stats = pstats.Stats(recorder).stats  # type: ignore[attr-defined]
    whole = sum(entry[2] for entry in stats.values())
    slowest = sorted(stats.items(), key=lambda item: -item[1][2])[:LINES]
    return [f"{entry[2] / whole:.1%} {_place(*key)} ({entry[0]} calls)" for key, entry in slowest]


def operators(work: Callable[[], object], device: str) -> list[str]:
    """The same for PyTorch's operators."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recording

    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with recording(activities=kinds) as recorder:
        work()
    events = recorder.key_averages()

    def own(event: Any) -> float:
        return float(event.self_device_time_total if device == "cuda" else event.self_cpu_time_total)

    whole = sum(map(own, events))
    slowest = sorted(events, key=lambda event: -own(event))[:LINES]
    return [f"{own(event) / whole:.1%} {event.key} ({event.count} calls)" for event in slowest]


def _place(file: str, line: int, name: str) -> str:
    return name if file == "~" else f"{os.path.basename(file)}:{line} {name}"


def load() -> list[float]:
    """Processes that wanted a core, on average over 1, 5 and 15 minutes: what a wall time has to be read with."""
    return [round(value, 2) for value in os.getloadavg()]
