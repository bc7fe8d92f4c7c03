"""Whole programs: diffusers' example scripts by their paths, against `python run.py task=train` on the same pictures.

Each side runs twice, for few and for more steps; the difference is what the steps cost, without start-up, caches and export.
The scripts draw their own noise, so their losses cannot be compared: equality is the business of the loop bodies in
`bench/train.py`. They need torchvision, which this project does without, so run them where it is installed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bench._measure import ratio, rounded
from bench.startup import PROJECT, _processor_seconds

FEW, MORE = 2, 42
PICTURES = 64


def programs(model: str, scripts: Mapping[str, str], batch: int, device: str, rounds: int = 3) -> dict[str, Any]:
    """Seconds of a step of both, for every strategy whose script is given."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        data, weights, resolution = Path(scratch) / "data", Path(scratch) / "weights", _weights(model, Path(scratch))
        _pictures(data, resolution)
        for strategy, script in scripts.items():
            if not script:
                continue
            clock = _wall_seconds if device == "cuda" else _processor_seconds
            peer = partial(_peer, script, weights, data, resolution, batch, device)
            ours = partial(_ours, model, strategy, data, resolution, batch, device)
            costs: dict[str, list[float]] = {"theirs": [], "ours": []}
            for number in range(rounds):
                for name, program in (("theirs", peer), ("ours", ours)):
                    places = [Path(scratch) / f"{name} {strategy} {number} {n}" for n in (FEW, MORE)]
                    few, more = (
                        clock(partial(program, place, n)) for place, n in zip(places, (FEW, MORE), strict=True)
                    )
                    costs[name].append((more - few) / (MORE - FEW))
            found[strategy] = {
                "ours_s_a_step": [rounded(cost) for cost in costs["ours"]],
                "theirs_s_a_step": [rounded(cost) for cost in costs["theirs"]],
                **ratio(costs["theirs"], costs["ours"]),
                "losses_compared": False,
            }
            print(strategy, found[strategy], flush=True)
    return found


def _weights(model: str, scratch: Path) -> int:
    """Writes the pipeline that the scripts load; returns its side in pixels."""
    import torch

    from bench.sampling import _models
    from t2i.sampling.config import Sampling

    models = _models(model, "cpu", torch.float32, Sampling())
    models.pipeline().save_pretrained(scratch / "weights")
    return int(models.resolution)


def _pictures(folder: Path, resolution: int) -> None:
    from t2i.data.sources.scenes.world import describe, draw

    folder.mkdir()
    rows = []
    for number in range(PICTURES):
        name = f"{number:04d}.png"
        draw(describe(0, number), resolution)[0].convert("RGB").save(folder / name)
        rows.append(json.dumps({"file_name": name, "text": f"picture {number}"}))
    (folder / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")


def _peer(
    script: str, weights: Path, data: Path, resolution: int, batch: int, device: str, output: Path, steps: int
) -> None:
    options = {
        "pretrained_model_name_or_path": weights,
        "train_data_dir": data,
        "caption_column": "text",
        "resolution": resolution,
        "train_batch_size": batch,
        "max_train_steps": steps,
        "learning_rate": 1e-4,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "mixed_precision": "bf16" if device == "cuda" else "no",
        "dataloader_num_workers": 4 if device == "cuda" else 0,
        "checkpointing_steps": 10**6,
        "seed": 0,
        "output_dir": output,
    }
    _start([script, *(f"--{name}={value}" for name, value in options.items()), "--allow_tf32"])


def _ours(
    model: str, strategy: str, data: Path, resolution: int, batch: int, device: str, output: Path, steps: int
) -> None:
    _start(
        [
            str(PROJECT / "run.py"),
            "task=train",
            f"model={model}",
            *(["model.init=random"] if model != "tiny" else []),
            f"strategy={strategy}",
            "dataset=folder",
            f"dataset.root={data}",
            f"dataset.resolution={resolution}",
            f"outputs={output}",
            "track.enabled=false",
            f"training.steps={steps}",
            f"training.batch_size={batch}",
            "training.validation_images=0",
            "training.held_out_images=2",
            "training.export_pipeline=false",
            f"launch.mixed_precision={'bf16' if device == 'cuda' else 'no'}",
        ]
    )


def _start(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=PROJECT, env=os.environ)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} ended with status {done.returncode}: {done.stderr[-2000:]}")


def _wall_seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
