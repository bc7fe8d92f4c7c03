"""From a folder of pictures to the numbers of the base and the tuned model: `python run.py` against a plain script.

    python -m bench end_to_end

The same pictures, captions, steps and seeds on both sides, fresh processes, processor time. The script prepares with Pillow,
trains attn2.to_v by the loop of diffusers' example (VAE and text encoder inside), draws with StableDiffusionPipeline in batches,
writes PNG files and asks torchmetrics: `numbers only` ends there. `same questions` goes on as ours does: is the tuned model
better on what it was trained on than on what it was not (its loss, and the CLIP scores of pictures of training captions), are
its pictures copies of training pictures, and how sure is the CLIP score's change. Ours also looks for duplicates, keeps
checkpoints, has intervals for FID and KID too and writes the report. Prepared pictures, the base model's pictures and its
numbers must be equal; the trainings draw noise of their own.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import ratio, rounded
from bench._plain import BATCH, RESOLUTION
from bench.startup import PROJECT, _processor_seconds

FORMS = ("same questions", "numbers only")


def run(
    pictures: int = 400, steps: int = 60, images: int = 40, sampling: int = 20, rounds: int = 2, forms: int = 2
) -> dict[str, Any]:
    """The ratio of the script's time to ours, in its first `forms` forms."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    start = partial(subprocess.run, check=True, capture_output=True, cwd=PROJECT, env=environment)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {form: [] for form in FORMS[:forms]}
    grey, numbers = 0, 0.0
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        _pictures(data, pictures)
        for number in range(rounds):
            outputs = Path(scratch) / f"ours{number}"
            ours.append(_processor_seconds(partial(start, _command(data, outputs, steps, images, sampling))))
            _write_splits(outputs, Path(scratch) / "splits.json")
            for name, taken in theirs.items():
                made = Path(scratch) / f"{name} {number}"
                arguments = (str(made), str(data), steps, sampling, name == "same questions")
                script = f"from bench._plain import peer; peer{arguments!r}"
                taken.append(_processor_seconds(partial(start, [sys.executable, "-c", script])))
                grey = max(grey, _compare_pictures(outputs, made))
                numbers = max(numbers, _compare_numbers(outputs, made))
            told = ", ".join(f"{name} {taken[-1]:.1f} s" for name, taken in theirs.items())
            print(f"round {number + 1}: ours {ours[-1]:.1f} s, the script: {told}", flush=True)
    return {
        "what": f"{pictures} pictures, {steps} steps of {BATCH}, {images} pictures of {sampling} steps from both models",
        "clock": "process, of children",
        "ours_s": [rounded(value) for value in ours],
        "theirs_s": {name: [rounded(value) for value in taken] for name, taken in theirs.items()},
        **{form.replace(" ", "_"): ratio(taken, ours) for form, taken in theirs.items()},
        "largest_difference_of_base_pictures": grey,
        "largest_relative_difference_of_base_numbers": float(f"{numbers:.2g}"),
        "results_equal": grey <= 1 and numbers < 0.02,
    }


def _pictures(folder: Path, count: int) -> None:
    from t2i.data.sources.scenes.world import describe, draw

    folder.mkdir()
    rows = []
    for number in range(count):
        name = f"{number:05d}.jpg"
        scene = describe(0, number)
        draw(scene, 256)[0].convert("RGB").save(folder / name, quality=92)
        rows.append(json.dumps({"file_name": name, "text": f"a drawing, the {number}th of many"}))
    (folder / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")


def _command(data: Path, outputs: Path, steps: int, images: int, sampling: int) -> list[str]:
    return [
        sys.executable,
        str(PROJECT / "run.py"),
        "parts=[data,train,compare]",
        "strategy=attn2_to_v",
        "dataset=folder",
        f"dataset.root={data}",
        f"dataset.resolution={RESOLUTION}",
        "dataset.held_out_share=0.2",
        f"outputs={outputs}",
        "track.enabled=false",
        f"training.steps={steps}",
        f"training.batch_size={BATCH}",
        "training.validation_images=0",
        "training.held_out_images=16",
        "training.export_pipeline=false",
        "scheduler=ddim",
        f"scheduler.steps={sampling}",
        f"eval.images={images}",
        "eval.metrics=[fid,kid,clip_score]",
    ]


def _write_splits(outputs: Path, path: Path) -> None:
    """Which pictures are held out, and the captions that are drawn: the script takes them as given."""
    from t2i.data.prepared import Prepared

    prepared = Prepared(next(outputs.glob("store/prepared/[0-9a-f]*")))
    splits: dict[str, Any] = {
        name: [[i, texts[0]] for i, texts in zip(prepared.split(name).ids, prepared.split(name).captions, strict=True)]
        for name in ("train", "held_out")
    }
    held_out = {text for _, text in splits["held_out"]}
    drawn = (json.loads(path.read_text(encoding="utf-8")) for path in outputs.glob("store/generated/*/captions.json"))
    splits["captions"] = next(
        captions for captions in drawn if held_out.issuperset(captions)
    )  # others show training captions
    path.write_text(json.dumps(splits), encoding="utf-8")


def _compare_pictures(outputs: Path, made: Path) -> int:
    """AssertionError unless the prepared pictures are equal; the largest difference of the base model's, in grey levels."""
    from PIL import Image

    from t2i.data.prepared import Prepared

    prepared = Prepared(next(outputs.glob("store/prepared/[0-9a-f]*")))
    for name in ("train", "held_out"):
        split = prepared.split(name)
        for place, file in enumerate(split.ids):
            theirs = np.asarray(Image.open((made / name / file).with_suffix(".png")))
            assert np.array_equal(split.pixels([place])[0], theirs), file
    differences = []
    for folder in outputs.glob("store/generated/[0-9a-f]*"):
        pairs = [(path, folder / path.name) for path in sorted((made / "base").glob("*.png"))]
        arrays = [[np.asarray(Image.open(path)).astype(int) for path in pair] for pair in pairs]
        differences.append(max(int(np.abs(left - right).max()) for left, right in arrays))
    return min(differences)  # the other set is the tuned model's


def _compare_numbers(outputs: Path, made: Path) -> float:
    mine = json.loads(next(outputs.glob("*/*_pipeline_*/metrics.json")).read_text(encoding="utf-8"))
    theirs = json.loads((made / "numbers.json").read_text(encoding="utf-8"))["base"]
    return max(abs(value - mine[f"base/{name}"]) / abs(mine[f"base/{name}"]) for name, value in theirs.items())
