"""Bytes and time of a checkpoint of an attn2.to_v training at full size, against accelerate's `save_state` of the U-Net.

    python -m bench checkpoint                    Stable Diffusion 1.5 at random: needs 8 GB of memory and 4 GB of disk
    python -m bench checkpoint --model=tiny

Both hold the trained tensors and AdamW's two moments of them; the peer's also the frozen network, as every example script
saves it. Ours have checksums, are forced to the disk and renamed into place. Wall time, in turns; the peer as it is called,
and with its files forced to the disk too, which the ratio takes. Ours must give back what was saved, bit by bit.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench._measure import load, ratio, rounded

SCRATCH = Path("outputs")
"""On the disk that runs write to: a temporary folder may lie in memory."""


def run(model: str = "sd15", rounds: int = 3) -> dict[str, Any]:
    """How many times fewer bytes and less time ours take; fewer bytes of `task=export format=weights dtype=fp16`."""
    import torch
    from accelerate import Accelerator

    from bench.sampling import _models
    from t2i.config import compose
    from t2i.sampling.config import Sampling
    from t2i.stages.exports import write_weights
    from t2i.training.resuming import checkpoints

    models = _models(model, "cpu", torch.float32, Sampling(keep_text=False))
    strategy = compose(["strategy=attn2_to_v"]).strategy
    strategy.attach(models)
    parameters = strategy.trainable(models)
    optimizer = torch.optim.AdamW(parameters.values())
    for parameter in parameters.values():
        parameter.grad = torch.randn_like(parameter) * 1e-3
    optimizer.step()
    accelerator = Accelerator(cpu=True)
    accelerator.prepare(models.unet, optimizer)
    seconds: dict[str, list[float]] = {"ours": [], "save_state": [], "save_state and fsync": []}
    waiting = load()
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        mine, theirs, export = (Path(scratch) / name for name in ("ours", "theirs", "export"))
        for number in range(rounds):
            state = {"optimizer": optimizer.state_dict()}
            spent, made = _wall(lambda state=state: checkpoints.save(mine, 1, parameters, state, {}, 2))
            seconds["ours"].append(spent)
            called, _ = _wall(lambda: accelerator.save_state(str(theirs)))
            forced, _ = _wall(lambda: _to_disk(theirs))
            seconds["save_state"].append(called)
            seconds["save_state and fsync"].append(called + forced)
            print({name: round(values[-1], 2) for name, values in seconds.items()}, flush=True)
            sizes = {"ours": _bytes(made), "save_state": _bytes(theirs)}
            if number + 1 < rounds:
                shutil.rmtree(theirs)
        export.mkdir()
        strategy.save(models, export)
        sizes["weights"] = _bytes(export)
        write_weights(export, export / "half", torch.float16)
        sizes["export"] = _bytes(export / "half")
        newest = checkpoints.newest(mine)
    assert newest is not None
    equal = all(torch.equal(newest.parameters[name], parameters[name].detach()) for name in parameters)
    return {
        "what": f"attn2.to_v of model={model}, AdamW, float32",
        "clock": "wall",
        "load_before": waiting,
        "bytes": sizes,
        "fewer_bytes": _exact(sizes["save_state"] / sizes["ours"]),
        "export_fewer_bytes": _exact(sizes["save_state"] / sizes["export"]),
        "seconds": {name: [rounded(value) for value in values] for name, values in seconds.items()},
        "less_time": ratio(seconds["save_state and fsync"], seconds["ours"]),
        "less_time_without_fsync_of_theirs": ratio(seconds["save_state"], seconds["ours"]),
        "results_equal": equal,
    }


def _exact(value: float) -> dict[str, Any]:
    return {"median": rounded(value), "range": [rounded(value), rounded(value)]}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _to_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def _wall(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found
