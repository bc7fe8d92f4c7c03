"""Every export, opened by the libraries that most people have: transformers 4.46 with diffusers 0.31, 4.57 with 0.35.

Each gets an environment of its own, with the project's torch beside it; where pip finds no index, that is said and fails.
Tolerance: 1 of 255 grey levels.
"""

import glob
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from t2i.config import Config, Dtype, Format, compose
from t2i.context import Run
from t2i.models.adapters.kinds import LORA
from t2i.models.load import load
from t2i.stages.exported import PROMPT, SEED, STEPS, drawn
from t2i.stages.exports import write
from t2i.stages.tuned import Tuned, apply_tuned, find_tuned
from t2i.store import Store
from t2i.training.lora import KOHYA

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
READERS = {
    "transformers 4.46, diffusers 0.31": {
        "transformers": "4.46.3",
        "diffusers": "0.31.0",
        "huggingface_hub": "0.26.5",
        "tokenizers": "0.20.3",
        "peft": "0.13.2",
    },
    "transformers 4.57, diffusers 0.35": {
        "transformers": "4.57.6",
        "diffusers": "0.35.2",
        "huggingface_hub": "0.36.0",
        "tokenizers": "0.22.1",
        "peft": "0.17.1",
    },
}
TOLERANCE = 1
PLACE = Path(os.environ.get("T2I_READERS", Path(__file__).parents[1] / "build" / "readers"))
"""Environments are kept here between runs."""
TUNINGS = {
    # The documented example: neither an output projection nor an MLP, by which readers would know the layout.
    "attention of both": (
        ["strategy=lora", "strategy.text_targets=[q_proj,v_proj]", "strategy.alpha=12"],
        ["diffusers", "fp16", "single file", "kohya", "peft", "separate", LORA, str(KOHYA)],
    ),
    "an MLP beside it": (
        ["strategy=lora", "strategy.text_targets=[q_proj,fc1]", "strategy.rank=3", "strategy.alpha=12"],
        [LORA, str(KOHYA)],
    ),
    "rsLoRA": (
        ["strategy=lora", "strategy.use_rslora=true", "strategy.rank=2", "strategy.alpha=6"],
        [LORA, str(KOHYA)],
    ),
    "text encoder": (["strategy=text_encoder"], ["diffusers", "single file"]),
    "text adapter": (["strategy=text_adapter"], ["diffusers"]),
}
FORMATS = {
    "diffusers": ("pipeline", {}),
    "fp16": ("pipeline", {"dtype": Dtype.fp16}),
    "single file": ("single_file", {"format": Format.single_file}),
    "kohya": ("lora", {"format": Format.kohya}),
    "peft": ("peft", {"format": Format.peft}),
    "separate": ("lora", {"fused": False}),
}


def environment(versions: dict[str, str]) -> Path:
    """A Python with these libraries, without what they depend on: the project's own packages stand behind them.

    What is kept may have been made beside another checkout, which is gone: where the project's packages lie is written
    anew each time, and an environment whose interpreter is gone is made again.
    """
    place = PLACE / f"t2i_reader_{versions['transformers']}_{versions['diffusers']}"
    python = place / "bin" / "python"
    if not (place / "ready").exists() or not python.exists():  # a link to an interpreter that is gone does not exist
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        wanted = [f"{name}=={version}" for name, version in versions.items()]
        command = [python, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", *wanted]
        subprocess.run(command, check=True)
        (place / "ready").touch()
    (site,) = glob.glob(f"{place}/lib/python3*/site-packages")
    own = next(path for path in map(Path, sys.path) if (path / "torch").is_dir())
    (Path(site) / "zz_project.pth").write_text(f"{own}\n")
    return python


def tuned(config: Config, run: Run, folder: Path) -> Path:
    """Weights as a training leaves them, far enough from the base to be seen."""
    models = load(config.model, run.store)
    config.strategy.attach(models)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in config.strategy.trainable(models).values():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    folder.mkdir(parents=True)
    config.strategy.save(models, folder)
    return folder


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """What is opened, and the picture that t2i draws with the same weights."""
    root = tmp_path_factory.mktemp("exports")
    run = Run(root / "run", Store(root / "store"))
    base = compose(["task=export"])
    facts = {"base": base.model.source, "prompt": PROMPT, "seed": SEED, "steps": STEPS, "size": base.model.resolution}
    plain = drawn(load(base.model, run.store))
    jobs = {name: {"kind": name, "path": base.model.source, **facts} for name in ("pipeline", "plain")}
    pictures = dict.fromkeys(jobs, plain)
    for number, (name, (overrides, formats)) in enumerate(TUNINGS.items()):
        weights = tuned(compose(overrides), run, root / f"{number}" / "weights")
        config = replace(base, weights=str(weights))
        found = find_tuned(config, run)
        assert found is not None
        models = load(config.model, run.store)
        apply_tuned(models, found)
        picture = drawn(models)
        assert np.abs(picture.astype(int) - plain).max() > 20, (
            "the tuning must be visible for a comparison to mean anything"
        )
        for label in formats:
            own, job = f"{name}: {label}", written(config, run, found, label, root / f"{number}")
            jobs[own], pictures[own] = {**facts, **job}, picture
            if label == "fp16":  # numbers of half precision are other numbers: as t2i reads them
                pictures[own] = drawn(load(replace(config.model, source=job["path"]), run.store))
    return jobs, pictures


def written(config: Config, run: Run, found: Tuned, label: str, root: Path) -> dict[str, str]:
    """One export, and how it is opened; what is no format is a file of the weights' own folder."""
    if label not in FORMATS:
        return {"kind": "lora", "path": str(found.folder / label)}
    kind, changes = FORMATS[label]
    own = replace(config, **changes)
    models = load(own.model, run.store)
    apply_tuned(models, found)
    target = root / label.replace(" ", "_")
    target.mkdir()
    result = write(own, run, models, found, target)
    if result.adapter is not None:
        return {"kind": kind, "path": str(result.adapter), "base": str(result.path)}
    return {"kind": kind, "path": str(result.path)}


@pytest.mark.parametrize("reader", READERS)
def test_every_export_is_read_as_it_was_written(
    exports: tuple[dict[str, dict], dict[str, np.ndarray]], reader: str, tmp_path: Path
) -> None:
    jobs, pictures = exports
    python = environment(READERS[reader])
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    command = [python, Path(__file__).with_name("reader.py"), tmp_path / "jobs.json", tmp_path / "pictures.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(tmp_path / "pictures.npz")
    far = {name: int(np.abs(found[name].astype(int) - pictures[name]).max()) for name in jobs}
    assert {name: value for name, value in far.items() if value > TOLERANCE} == {}
