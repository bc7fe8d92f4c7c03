"""bf16 on a CPU: how fast a step of LoRA is at the full size of Stable Diffusion 1.5, and whether it trains as float32 does.

    OMP_NUM_THREADS=1 python -m bench half                 860 million scalars with random weights, 256 pixels

The peer is the step of diffusers' example in float32 (`bench/train.py`); beside it our own step in float32. Then the bundled
model is trained twice from the same noise, in float32 and in bf16, and the losses of every step are paired: the mean difference
has an interval over groups of ten steps, since neighbours share weights.
"""

import csv
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import in_turns, ratio, rounded
from bench._options import chosen
from bench.startup import PROJECT
from bench.train import PARTS, STEPS, Trainer

GROUP = 10
"""Steps that are averaged before an interval is made of them."""


def run(
    model: str = "sd15",
    pixels: int = 256,
    batch: int = 1,
    rounds: int = 3,
    steps: int = 300,
    curve_batch: int = 16,
    only: str = "",
) -> dict[str, Any]:
    """Ratios of the peer's step in float32 to ours in bf16, by strategy, and the difference of the loss curves."""
    import torch

    from t2i.processes import bf16_instruction

    result: dict[str, Any] = {
        "what": f"a step of {batch} at {pixels} pixels, model={model}; {steps} steps of the bundled model",
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "clock": "process",
        "instruction": bf16_instruction() or "none",
        "strategies": {},
    }
    for strategy in chosen("only", only or "lora,attn2_to_v", list(PARTS)):
        forms = {"bf16": ("ours", torch.bfloat16), "float32": ("ours", torch.float32), "peer": ("tuned", torch.float32)}
        trainers = {
            name: Trainer(model, strategy, "cpu", dtype, batch, form, pixels=pixels)
            for name, (form, dtype) in forms.items()
        }
        seconds = in_turns({name: partial(_steps, trainer) for name, trainer in trainers.items()}, rounds, "cpu")
        losses = {name: np.array(trainer.losses) for name, trainer in trainers.items()}
        difference = float(np.max(np.abs(losses["bf16"] - losses["peer"]) / np.abs(losses["peer"])))
        result["strategies"][strategy] = {
            **ratio(seconds["peer"], seconds["bf16"]),
            "float32": ratio(seconds["float32"], seconds["bf16"]),
            "seconds_a_step": {name: rounded(min(own) / STEPS) for name, own in seconds.items()},
            "largest_relative_difference_of_losses": difference,
        }
        del trainers
    result["curve"] = _curve(steps, curve_batch)
    strategies = result["strategies"].values()
    result["results_equal"] = all(own["largest_relative_difference_of_losses"] < 0.05 for own in strategies)
    return result


def _steps(trainer: Trainer) -> None:
    for _ in range(STEPS):
        trainer.step()


def _curve(steps: int, batch: int) -> dict[str, Any]:
    """Mean loss in float32, and that in bf16 minus it, with a 95 % interval."""
    from t2i.evaluation.statistics import intervals

    with tempfile.TemporaryDirectory() as scratch:
        own, plain = (_losses(steps, batch, precision, Path(scratch) / precision) for precision in ("bf16", "no"))
    whole = steps // GROUP * GROUP
    groups = (own - plain)[:whole].reshape(-1, GROUP).mean(axis=1)
    found = intervals.mean(groups)
    return {
        "mean_loss": rounded(float(plain.mean())),
        "bf16_minus_float32": [float(f"{value:.3g}") for value in (found.value, found.low, found.high)],
    }


def _losses(steps: int, batch: int, precision: str, outputs: Path) -> np.ndarray:
    """Of every step, float64 (steps,), of the bundled model's LoRA in this precision; a process has one precision."""
    script = f"from bench.half import train; train({steps}, {batch}, {precision!r}, {str(outputs)!r})"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=PROJECT)
    (path,) = outputs.glob("store/training/*/train_log.csv")
    with open(path, newline="", encoding="utf-8") as file:
        return np.array([float(row["loss"]) for row in csv.DictReader(file)])


def train(steps: int, batch: int, precision: str, outputs: str) -> None:
    """In this process, as it was asked for: the command line would leave so small a model in float32."""
    from t2i.config import compose
    from t2i.launch import Job, work

    keys = ["task=train", "strategy=lora", "training.export_pipeline=false", "training.validation_images=0"]
    keys += ["track.enabled=false", "training.log_every=1", f"training.steps={steps}", f"outputs={outputs}"]
    keys += [f"training.batch_size={batch}"]
    if steps * batch < 1000:  # a try: making and encoding the whole world would take longer than the steps
        keys += [f"dataset.train={steps * batch}", "dataset.val=12", "training.held_out_images=4"]
    work(Job(compose([*keys, f"launch.mixed_precision={precision}"]), Path(outputs) / "run", []))
