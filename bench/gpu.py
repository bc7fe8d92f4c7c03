"""Everything that a card is measured by, in order of worth, within a budget: `make bench-gpu`, or `python -m bench gpu`.

    python -m bench gpu                             Stable Diffusion 1.5 and XL at full size, random weights: 12 minutes
    python -m bench gpu --budget=300                what five minutes hold
    python -m bench gpu --model=tiny                the same at toy size, on a CPU as well: does it run to its end?

Each part is a bench of its own in a fresh process, ours and the tuned peer in turns. The result is written after every part, so
that what was measured stays when the machine is taken away. The same command goes on: parts that this machine measured at
this commit, with the same model, are not measured again, and those that failed or found no time are.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench._commit import commit
from bench._rows import RESULTS, newest

BUDGET = 720
MARGIN = 5.0
"""Seconds that are kept for writing."""


@dataclass(frozen=True)
class Part:
    """One bench with the options of the full size and of the toy; at least so many seconds have to be left for the full size."""

    bench: str
    full: dict[str, Any]
    toy: dict[str, Any]
    least: float


def _training(strategy: str) -> Part:
    small = {"batch": 2, "rounds": 1, "only": strategy}
    return Part("train", {"model": "sd15", "channels_last": 1, **small, "batch": 16, "rounds": 2}, small, 45)


PARTS: dict[str, Part] = {
    "drawing": Part(
        "sampling",
        {"model": "sd15", "images": 8, "steps": 40, "batch": 8, "rounds": 2, "switches": 0},
        {"images": 2, "steps": 2, "batch": 2, "rounds": 1, "switches": 0},
        60,
    ),
    "training attn2.to_v": _training("attn2_to_v"),
    "training LoRA": _training("lora"),
    "training U-Net": _training("unet"),
    "sweep": Part(
        "sweep",
        {"model": "sd15", "images": 8, "rounds": 1, "forms": 1, "batch": 8},
        {"model": "tiny", "images": 2, "steps": 2, "rounds": 1, "forms": 1},
        60,
    ),
    "features": Part("images", {"images": 256}, {"images": 2, "rounds": 1}, 20),
    "checkpoint": Part("checkpoint", {"rounds": 2}, {"model": "tiny", "rounds": 1}, 40),
    "training LoRA of SDXL": Part(
        "train",
        {"model": "sdxl", "only": "lora", "batch": 4, "rounds": 2, "channels_last": 1},
        {"model": "tiny_sdxl", "only": "lora", "batch": 2, "rounds": 1},
        60,
    ),
    "drawing, compiled": Part(
        "sampling",
        {"model": "sd15", "images": 8, "steps": 40, "batch": 8, "rounds": 1},
        {"images": 2, "steps": 2, "batch": 2, "rounds": 1},
        120,
    ),
}
"""In order of worth."""


def run(model: str = "sd15", budget: int = BUDGET, folder: str = str(RESULTS)) -> dict[str, Any]:
    """The results of all parts that the budget (seconds) holds; written to `folder` after each of them."""
    from bench.__main__ import keep

    end = time.monotonic() + budget
    device = _device()
    if device == "cpu" and model != "tiny":
        sys.exit("python -m bench gpu: no CUDA device was found; at toy size it runs without: --model=tiny")
    result: dict[str, Any] = {
        "what": f"every part of bench/gpu.py, model={model}, {budget} s",
        "device": device,
        "model": model,
        "results_equal": True,
        "parts": _earlier(Path(folder), device, model),
    }
    for name, part in PARTS.items():
        if "result" in result["parts"].get(name, {}):
            print(f"{name}: measured at this commit already", flush=True)
            continue
        left = end - time.monotonic() - MARGIN
        if left < (part.least if model != "tiny" else 1):
            result["parts"][name] = {"bench": part.bench, "failed": f"no time: {left:.0f} s were left"}
        else:
            result["parts"][name] = _measured(name, part.toy if model == "tiny" else part.full, left)
        told = {key: value for key, value in result["parts"][name].items() if key != "result"}
        print(f"{name}: {told}", flush=True)
        measured = [entry["result"] for entry in result["parts"].values() if "result" in entry]
        result["results_equal"] = all(found.get("results_equal", True) for found in measured)
        if measured:
            keep("gpu", result, Path(folder))
    return result


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _earlier(folder: Path, device: str, model: str) -> dict[str, Any]:
    """Parts of the last result, where that is this machine's at this commit with this model."""
    from bench.__main__ import machine

    for _, where, found in newest(folder):
        same = found["benchmark"] == "gpu" and where == machine(device) and found["model"] == model
        if same and found["commit"] and found["commit"] == commit() and not found["commit"].endswith("+"):
            return {name: entry for name, entry in found["parts"].items() if name in PARTS}
    return {}


def _measured(name: str, options: dict[str, Any], left: float) -> dict[str, Any]:
    """What a process of its own found: its result, or a sentence why there is none."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "result.json"
        call = f"from bench.gpu import part; part({PARTS[name].bench!r}, {options!r}, {str(path)!r})"
        # A group of its own ends as one, with the programs that the part starts; by the pipe it sees that this process is gone.
        process = subprocess.Popen(
            [sys.executable, "-c", call], stdin=subprocess.PIPE, cwd=Path(__file__).parents[1], start_new_session=True
        )
        try:
            status = process.wait(timeout=left)
            failed = f"ended with status {status}: its own lines above say why" if status else ""
        except subprocess.TimeoutExpired:
            failed = f"cut off after {left:.0f} s, when the budget was spent"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        found = {"bench": PARTS[name].bench, "seconds": round(time.monotonic() - start, 1)}
        if failed or not path.exists():
            return {**found, "failed": failed or "left no result"}
        return {**found, "result": json.loads(path.read_text(encoding="utf-8"))}


def part(bench: str, options: dict[str, Any], path: str) -> None:
    """In the process of a part: measures, and ends at once when the process that started it is gone."""
    import importlib

    def watch() -> None:
        os.read(0, 1)  # nothing comes: it returns when the pipe is closed
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    Path(path).write_text(json.dumps(importlib.import_module(f"bench.{bench}").run(**options)), encoding="utf-8")
