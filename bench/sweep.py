"""The 3 x 3 grid of schedulers and guidance scales, against the loop that one would write.

The peer draws the pictures of every cell, writes PNG files, reads them again and asks torchmetrics for FID and KID and the mean
cosine for a CLIP score. `default` loads StableDiffusionPipeline for every cell and draws one by one, `tuned` loads it once
and draws in batches. Ours is `python run.py task=sweep`, with intervals and a report besides. All are fresh processes, one
thread, processor time; the pictures must be equal to one grey level. The features are the bundled evaluator's on all
sides, so that only the way differs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import ratio
from bench._plain import draw, load, load_clip, measure, read
from bench.startup import PROJECT, _processor_seconds

SCHEDULERS = {"ddim": "DDIMScheduler", "pndm": "PNDMScheduler", "euler": "EulerDiscreteScheduler"}
SCALES = (5.0, 7.5, 10.0)
DATA = ["dataset.train=200", "dataset.val=40"]
FORMS: dict[str, dict[str, Any]] = {
    "tuned": {"batch": 16, "load_once": True},
    "default": {"batch": 1, "load_once": False},
}


def run(
    images: int = 20, steps: int = 20, rounds: int = 2, forms: int = 2, model: str = "", batch: int = 16
) -> dict[str, Any]:
    """The ratios of the peer's times to ours for nine cells, in its first `forms` forms. model: one that is built at random and
    written to disk, from where both sides load it; `batch`: pictures at once, of both."""
    import torch

    cuda = torch.cuda.is_available()
    spent: Callable[[Callable[[], object]], float] = _wall if cuda else _processor_seconds
    chosen = dict(list(FORMS.items())[:forms])
    seconds: dict[str, list[float]] = {"ours": [], **{form: [] for form in chosen}}
    differences: list[int] = []
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    start = partial(subprocess.run, check=True, capture_output=True, cwd=PROJECT, env=surroundings)
    with tempfile.TemporaryDirectory() as scratch:
        source = _written(model, Path(scratch) / "model") if model else ""
        own = [f"model={model}", f"model.source={source}"] if model else []
        own += [f"eval.batch_size={batch}", *(["launch.mixed_precision=bf16"] if cuda else [])]
        for number in range(rounds):
            outputs = Path(scratch) / str(number)
            command = [sys.executable, str(PROJECT / "run.py")]
            common = [f"outputs={outputs}", "track.enabled=false", *DATA, *own, f"eval.images={images}"]
            start([*command, "task=generate", *common, f"images={images}", "scheduler.steps=1"])  # data, for all sides
            captions = next(outputs.glob("store/generated/*/captions.json"))
            fixed = f"sweeps.fixed={{scheduler.steps:{steps},eval.images:{images}}}"
            metrics = "eval.metrics=[fid,kid,clip_score]"
            grid = [*command, "task=sweep", "sweeps=quick", fixed, metrics, *common]
            seconds["ours"].append(spent(partial(start, grid)))
            for form, settings in chosen.items():
                folder, settings = Path(scratch) / f"{form}{number}", {**settings, "source": source}
                if form == "tuned":
                    settings["batch"] = batch
                call = (
                    f"from bench.sweep import peer; peer({str(folder)!r}, {str(captions)!r}, {steps}, **{settings!r})"
                )
                seconds[form].append(spent(partial(start, [sys.executable, "-c", call])))
                differences.append(_difference(outputs, folder))
            told = ", ".join(f"{name} {taken[-1]:.1f} s" for name, taken in seconds.items())
            print(f"round {number + 1}: {told}", flush=True)
    return {
        "what": f"9 cells of {images} pictures, {steps} steps, {f'model={model}' if model else 'bundled model'}",
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "clock": "wall" if cuda else "process, of children",
        "seconds": {name: [round(value, 1) for value in taken] for name, taken in seconds.items()},
        **{form: ratio(seconds[form], seconds["ours"]) for form in chosen},
        "largest_difference": max(differences),
        # In bf16 two roundings differ; `sampling` compares in float32.
        "results_equal": cuda or max(differences) <= 1,
    }


def _wall(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _written(model: str, folder: Path) -> str:
    """Where a model with random weights lies in diffusers' layout."""
    import torch

    from bench.sampling import _models
    from t2i.sampling.config import Sampling
    from t2i.stages.exported import save_pipeline

    save_pipeline(_models(model, "cpu", torch.float32, Sampling(keep_text=False)), folder)
    return str(folder)


def peer(folder: str, captions_file: str, steps: int, batch: int, load_once: bool, source: str = "") -> None:
    """The plain loop."""
    captions = json.loads(Path(captions_file).read_text(encoding="utf-8"))
    numbers, pipeline, clip = {}, load(source), load_clip()
    for name, kind in SCHEDULERS.items():
        for scale in SCALES:
            pipeline = pipeline if load_once else load(source)
            cell = Path(folder) / f"{name}_{scale:g}"
            draw(pipeline, cell, captions, steps, batch, kind, scale)
            pictures = read(cell)
            # A reference of the same size; which one does not matter to the time.
            numbers[cell.name] = measure(clip, pictures, pictures[::-1].copy(), captions, subsets=100)
    (Path(folder) / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")


def _difference(outputs: Path, folder: Path) -> int:
    """Between the pictures of both sides, in grey levels; each cell is found by the recipe in its first picture."""
    from PIL import Image

    from t2i.sampling.recipe import read_recipe

    worst, cells = 0, 0
    for made in outputs.glob("store/generated/[0-9a-f]*"):  # locks begin with a dot
        recipe = read_recipe(made / "000000.png")
        other = folder / f"{recipe['scheduler']['name']}_{recipe['cfg']['scale']:g}"
        if not other.is_dir() or recipe["scheduler"]["steps"] == 1:
            continue
        cells += 1
        for path in sorted(other.glob("*.png")):
            left, right = (np.asarray(Image.open(p)).astype(int) for p in (path, made / path.name))
            worst = max(worst, int(np.abs(left - right).max()))
    assert cells == 9, f"{cells} cells were found"
    return worst
