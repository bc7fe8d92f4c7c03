"""bf16 on a CPU: for which size of a model, and for what, it is worth having."""

from collections.abc import Sequence

from t2i.config import Config, Precision, Task
from t2i.models.size import SMALL, scalars
from t2i.processes import bf16_instruction, device_type

KEY = "launch.mixed_precision"
DRAWING = (Task.generate, Task.evaluate, Task.sweep, Task.serve, Task.prompt, Task.drift, Task.curve)
"""Tasks that draw and do not train: there bf16 needs no casts, and pays for a model of any size."""
WORK = (Task.train, Task.pipeline, *DRAWING)
"""Tasks that train or draw."""


def settle(config: Config) -> None:
    """A small model stays in float32 on a CPU where bf16 would make it slower: in a training, and where bf16 is emulated."""
    small = device_type() == "cpu" and 0 < scalars(config.model) < SMALL
    if (
        config.launch.mixed_precision is Precision.bf16
        and small
        and not (config.task in DRAWING and bf16_instruction())
    ):
        config.launch.mixed_precision = Precision.no


def advice(config: Config, overrides: Sequence[str]) -> str:
    """A line for whoever trains or draws on a CPU: that float32 was chosen, or what bf16 would bring; empty where neither."""
    if config.task not in WORK or device_type() != "cpu":
        return ""
    count, precision = scalars(config.model), config.launch.precision
    if precision == "no" and f"{KEY}=bf16" in overrides:
        return f"float32 in place of bf16, which makes a model of {count / 1e6:.0f} million scalars slower on a CPU"
    if precision == "no" and count >= SMALL and (has := bf16_instruction()):
        share = "a third of the time" if config.task in DRAWING else "half the time"
        return f"on this CPU ({has}) {KEY}=bf16 takes about {share} (docs/machines.md)"
    return ""
