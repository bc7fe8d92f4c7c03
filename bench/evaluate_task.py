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

from bench._measure import ratio, rounded
from bench._plain import draw, load_clip, load_tiny, measure, read
from bench.startup import PROJECT, _processor_seconds

BATCH = 20
FORMS = {"tuned": BATCH, "default": 1}
"""How many pictures the peer draws at once."""


def run(images: int = 40, steps: int = 20, rounds: int = 2, forms: int = 2) -> dict[str, Any]:
    """Ratios of the peer's times to ours, in its first `forms` forms."""
    chosen = dict(list(FORMS.items())[:forms])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    start = partial(subprocess.run, check=True, capture_output=True, cwd=PROJECT, env=environment)
    seconds: dict[str, list[float]] = {"ours": [], **{f"peer {form}": [] for form in chosen}}
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
            for form, batch in chosen.items():
                made = Path(scratch) / f"{form} {number}"
                script = (
                    f"from bench.evaluate_task import peer; peer({str(made)!r}, {str(outputs)!r}, {steps}, {batch})"
                )
                seconds[f"peer {form}"].append(_processor_seconds(partial(start, [sys.executable, "-c", script])))
                theirs = json.loads((made / "numbers.json").read_text(encoding="utf-8"))
                differences += [abs(theirs[key] - mine[key]) / abs(mine[key]) for key in theirs]
            print({name: round(values[-1], 1) for name, values in seconds.items()}, theirs, flush=True)
    return {
        "what": f"{images} pictures, {steps} steps, FID, KID and CLIP score, bundled model, fresh processes",
        "clock": "process, of children",
        "seconds": {name: [rounded(value) for value in values] for name, values in seconds.items()},
        **{form: ratio(seconds[f"peer {form}"], seconds["ours"]) for form in chosen},
        "largest_relative_difference": float(f"{max(differences):.2g}"),
        # Their pictures differ from ours by at most one grey level, which moves KID in its third digit.
        "results_equal": max(differences) < 0.02,
    }


def peer(folder: str, outputs: str, steps: int, batch: int) -> None:
    """The plain script."""
    from t2i.data.prepared import Prepared

    made = Path(folder)
    captions = json.loads(next(Path(outputs).glob("store/generated/*/captions.json")).read_text(encoding="utf-8"))
    held_out = Prepared(next(Path(outputs).glob("store/prepared/[0-9a-f]*"))).split("held_out")
    draw(load_tiny(), made, captions, steps, batch)
    numbers = measure(load_clip(), held_out.pixels(range(len(held_out))), read(made), captions, subsets=1)
    (made / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")
