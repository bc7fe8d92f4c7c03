"""bf16 on a CPU: which processors multiply it, and for which size of a model that is worth it."""

from collections.abc import Sequence
from pathlib import Path

from t2i.config import Config, Precision, Task
from t2i.models import files
from t2i.processes import device_type

MULTIPLIES = ("amx_bf16", "avx512_bf16")
"""Instructions of a processor that multiply it, by the kernel's name for them; without one it is emulated."""
LARGE = 50_000_000
"""Scalars of a denoiser from which on it is quicker: with Stable Diffusion 1.5's 860 million a step of LoRA takes 0.47 of the
time, with the bundled model's few it takes 1.5 times as long, since casts cost more than products (`bench/README.md`)."""
KEY = "launch.mixed_precision"
WORK = (Task.train, Task.pipeline, Task.generate, Task.evaluate, Task.sweep, Task.serve, Task.prompt)
"""Tasks that train or draw."""


def instruction() -> str:
    """What this processor multiplies bf16 with; empty where it does not, or where nobody can tell."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return ""
    flags = {
        word
        for line in info.read_text(encoding="utf-8").splitlines()
        if line.startswith("flags")
        for word in line.split()
    }
    return next((name for name in MULTIPLIES if name in flags), "")


def scalars(config: Config) -> int:
    """About how many the denoiser has: as the model's YAML says, or by the size of its files; 0 where neither is there."""
    known = [count for name, count in config.model.parameters.items() if name in ("unet", "transformer")]
    if known:
        return known[0]
    folders = [Path(config.model.source) / name for name in ("unet", "transformer")]
    weights = [path for folder in folders if folder.is_dir() for path in files.weight_files(folder)]
    return sum(path.stat().st_size for path in weights) // 2


def settle(config: Config) -> None:
    """A small model stays in float32 on a CPU, where bf16 would make it slower."""
    if config.launch.mixed_precision is Precision.bf16 and device_type() == "cpu" and 0 < scalars(config) < LARGE:
        config.launch.mixed_precision = Precision.no


def advice(config: Config, overrides: Sequence[str]) -> str:
    """A line for whoever trains or draws on a CPU: that float32 was chosen, or what bf16 would bring; empty where neither."""
    if config.task not in WORK or device_type() != "cpu":
        return ""
    count, precision = scalars(config), config.launch.precision
    if precision == "no" and f"{KEY}=bf16" in overrides:
        return f"float32 in place of bf16, which makes a model of {count / 1e6:.0f} million scalars slower on a CPU"
    if precision == "no" and count >= LARGE and (has := instruction()):
        return f"on this CPU ({has}) {KEY}=bf16 takes about half the time (docs/machines.md)"
    return ""
