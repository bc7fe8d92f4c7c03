"""`task=evaluate` as a whole, against the script that one would write: draw, PNG files, torchmetrics.

    python -m bench evaluate_task

Both are fresh processes on the bundled model with the same prompts, seeds and steps; processor time. The peer draws with
StableDiffusionPipeline one by one (`default`) and in batches (`tuned`), and takes FID and KID from torchmetrics and a CLIP score
from the mean cosine, on the features of the same bundled evaluator. Ours also computes intervals, definitions and a run's
records; the three numbers must agree.
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
from bench.startup import PROJECT, _processor_seconds

BATCH = 20


def run(images: int = 40, steps: int = 20, rounds: int = 2) -> dict[str, Any]:
    """Ratios of the peer's two forms to ours."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    start = partial(subprocess.run, check=True, capture_output=True, cwd=PROJECT, env=environment)
    seconds: dict[str, list[float]] = {"ours": [], "peer tuned": [], "peer default": []}
    differences: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            outputs = Path(scratch) / str(number)
            common = [f"outputs={outputs}", "track.enabled=false", "dataset.train=200", f"dataset.val={images}"]
            runner = [sys.executable, str(PROJECT / "run.py")]
            start([*runner, "task=prepare", *common])  # the data, which both sides read
            task = ["task=evaluate", f"eval.images={images}", "scheduler=ddim", f"scheduler.steps={steps}"]
            metrics = ["eval.metrics=[fid,kid,clip_score]", f"eval.batch_size={BATCH}"]
            seconds["ours"].append(_processor_seconds(partial(start, [*runner, *task, *metrics, *common])))
            mine = json.loads(next(outputs.glob("*/*_evaluate_*/metrics.json")).read_text(encoding="utf-8"))
            for name, batch in (("peer tuned", BATCH), ("peer default", 1)):
                made = Path(scratch) / f"{name} {number}"
                script = (
                    f"from bench.evaluate_task import peer; peer({str(made)!r}, {str(outputs)!r}, {steps}, {batch})"
                )
                seconds[name].append(_processor_seconds(partial(start, [sys.executable, "-c", script])))
                theirs = json.loads((made / "numbers.json").read_text(encoding="utf-8"))
                differences += [abs(theirs[key] - mine[key]) / abs(mine[key]) for key in theirs]
            print({name: round(values[-1], 1) for name, values in seconds.items()}, theirs, flush=True)
    return {
        "what": f"{images} pictures, {steps} steps, FID, KID and CLIP score, bundled model, fresh processes",
        "clock": "process, of children",
        "seconds": {name: [rounded(value) for value in values] for name, values in seconds.items()},
        "tuned": ratio(seconds["peer tuned"], seconds["ours"]),
        "default": ratio(seconds["peer default"], seconds["ours"]),
        "largest_relative_difference": float(f"{max(differences):.2g}"),
        # Their pictures differ from ours by at most one grey level, which moves KID in its third digit.
        "results_equal": max(differences) < 0.02,
    }


def peer(folder: str, outputs: str, steps: int, batch: int) -> None:
    """The plain script."""
    import diffusers
    import torch
    from PIL import Image
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    from t2i.data.prepared import Prepared
    from t2i.evaluation.clip_extractor import ClipExtractor
    from t2i.evaluation.extractors import TINY_CLIP

    made = Path(folder)
    made.mkdir()
    captions = json.loads(next(Path(outputs).glob("store/generated/*/captions.json")).read_text(encoding="utf-8"))
    held_out = Prepared(next(Path(outputs).glob("store/prepared/[0-9a-f]*"))).split("held_out")
    reference = held_out.pixels(range(len(held_out)))
    clip = ClipExtractor(str(TINY_CLIP), "tiny_clip")
    tiny = PROJECT / "t2i" / "assets" / "tiny"
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tiny, safety_checker=None, dtype=torch.float32)
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    for first in range(0, len(captions), batch):
        chosen = range(first, min(first + batch, len(captions)))
        pictures = pipeline(
            [captions[i] for i in chosen],
            num_inference_steps=steps,
            guidance_scale=7.5,
            height=64,
            width=64,
            generator=[torch.Generator("cpu").manual_seed(i) for i in chosen],
        ).images
        for i, picture in zip(chosen, pictures, strict=True):
            picture.save(made / f"{i:06d}.png")

    class Features(torch.nn.Module):
        num_features = clip.images(np.zeros((1, 64, 64, 3), np.uint8)).shape[1]

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(clip.images(images.permute(0, 2, 3, 1).numpy())).double()

    drawn = np.stack([np.asarray(Image.open(path)) for path in sorted(made.glob("*.png"))])
    network, count = Features(), len(drawn)
    fid = FrechetInceptionDistance(feature=network).set_dtype(torch.float64)
    kid = KernelInceptionDistance(feature=network, subsets=1, subset_size=count).set_dtype(torch.float64)
    for metric in (fid, kid):
        for pixels, real in ((reference, True), (drawn, False)):
            metric.update(torch.from_numpy(pixels).permute(0, 3, 1, 2), real=real)
    features, texts = clip.images(drawn), clip.texts(captions)
    cosine = (features * texts).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(texts, axis=1)
    numbers = {
        "fid[tiny_clip]": float(fid.compute()),
        "kid[tiny_clip]": float(kid.compute()[0]),
        "clip_score[tiny_clip]": 100 * float(np.maximum(cosine, 0).mean()),
    }
    (made / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")
