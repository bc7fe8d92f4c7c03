"""`python run.py task=serve [weights=<run>]`: the model as a page in the browser and as an HTTP endpoint."""

import dataclasses
import json
import os
from pathlib import Path

from t2i.config import Config
from t2i.context import Run, write_results
from t2i.interruption import Interrupted
from t2i.processes import device_type
from t2i.stages.painting import offer_of, painter_of
from t2i.stages.tuned import find_tuned


def serve(config: Config, run: Run) -> dict[str, float]:
    """Serves until Ctrl-C; returns how many requests were answered. Pictures are in `images/` of the run folder."""
    config.serve.login()  # a wrong file is a mistake that should not wait for the model
    if device_type() == "cpu":
        saving = dataclasses.replace(config.sampling, vae_slicing=True, vae_tiling=True)
        config = dataclasses.replace(config, sampling=saving, batch_size=1)
    tuned = find_tuned(config, run)
    painter = painter_of(config, run, tuned)
    # Only now: the packages below take seconds to load, and mistakes above should be told at once.
    from t2i.web.preview import Preview
    from t2i.web.server import run as run_server
    from t2i.web.studio import Studio

    preview = Preview.fit(painter.models["base"])
    studio = Studio(painter, preview, config.serve.queue, config.serve.rate, config.serve.keep)
    device = run.accelerator.device
    facts = {
        "model": config.model.name,
        "tuned": _title(tuned.folder) if tuned else "",
        "device": "GPU" if device.type == "cuda" else f"CPU, {os.cpu_count()} cores",
    }
    numbers = _numbers(tuned.folder) if tuned else {}
    try:
        run_server(config.serve, studio, offer_of(config, painter), facts, numbers, run.folder / "gradio", run.say)
    except Interrupted:
        write_results(run.folder, {"answered": float(studio.answered), "pictures": float(painter.made)}, run.stages)
        raise
    return {"answered": float(studio.answered), "pictures": float(painter.made)}


def _title(weights: Path) -> str:
    """How people know tuned weights: by the run folder they are in."""
    return weights.parent.name if weights.name in ("weights", "clip") else weights.name


def _numbers(weights: Path) -> dict[str, float]:
    """metrics.json of the run that the weights come from; nothing where they lie alone."""
    path = weights.parent / "metrics.json"
    numbers: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return numbers
