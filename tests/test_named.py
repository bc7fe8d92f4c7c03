"""Mistakes in what a command line names: told in one sentence before anything heavy is imported, and no run is left."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from t2i.keys import keys
from t2i.named import MADE
from t2i.quoting import LISTS, PATHS

from .conftest import PROJECT

HEAVY = ["torch", "mlflow", "diffusers", "transformers", "matplotlib", "scipy", "optuna"]
READ = {
    "weights": ["task=generate"],
    "pictures": ["task=evaluate"],
    "prompts_file": ["task=generate"],
    "wildcards": ["task=generate"],
    "recipe": ["task=generate"],
    "image": ["task=generate"],
    "mask": ["task=generate", f"image={PROJECT / 'docs/figures/web_phone.png'}"],
    "run": ["task=export"],
    "runs": ["task=compare"],
    "bundle": ["task=rerun"],
    "serve.credentials": ["task=serve"],
    "clip.source": ["task=clip"],
    "dataset.root": ["dataset=folder"],
    "dataset.subset": ["dataset=folder", "dataset.root=."],
    "dataset.links": ["dataset=folder", "dataset.root=."],
    "dataset.karpathy": ["dataset=coco", "dataset.root=."],
    "eval.clip": ["eval.extractor=clip"],
    "eval.inception": ["eval.extractor=inception"],
    "eval.dinov2": ["eval.extractor=dinov2"],
    "model.architecture": ["model.init=random"],
}
"""What else is typed, where the key is not read by every command."""
CELLS = {
    "option": (["sweeps.space={scheduler:[ddim,eulr]}"], "scheduler=eulr is unknown (did you mean scheduler=euler?)"),
    "option of fixed": (
        ["+sweeps.fixed={scheduler:eulr}"],
        "scheduler=eulr is unknown (did you mean scheduler=euler?)",
    ),
    "option of a condition": (
        ["sweeps.space={strategy:[lora],scheduler:{values:[eulr],when:{strategy:lora}}}"],
        "scheduler=eulr is unknown (did you mean scheduler=euler?)",
    ),
    "reference": (["sweeps.reference=eulr"], "sweeps.reference=eulr is no scheduler (did you mean euler?)"),
    "key": (["sweeps.space={cfg.scal:[1,2]}"], "cfg.scal is no key of the configuration (did you mean cfg.scale?)"),
    "value": (["sweeps.space={cfg.scale:[1,abc]}"], "cfg.scale=abc is not valid; a number is expected"),
    "value of fixed": (["+sweeps.fixed={scheduler.steps:many}"], "scheduler.steps=many is not valid; an integer is"),
    "metric": (
        ["sweeps.metric=clip_scor"],
        "sweeps.metric=clip_scor is no number of a cell (did you mean clip_score?)",
    ),
    "pipeline": (["task=pipeline", "+sweeps.fixed={scheduler:eulr}"], "scheduler=eulr is unknown"),
}
"""Mistakes in what a sweep would set, and what is said of each."""
NAMES = sorted({*PATHS, *LISTS, "track.uri"} - {"sweeps.apply"})  # a name, which is written to conf
LAYER = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
OF_XL = {
    f"{LAYER}.lora_A.weight": np.zeros((4, 2048), np.float32),
    f"{LAYER}.lora_B.weight": np.zeros((640, 4), np.float32),
}
PROGRAM = """
import contextlib, io, json, runpy, sys

program, commands, heavy = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
for name, arguments in commands.items():
    out, err = io.StringIO(), io.StringIO()
    sys.argv = [program, *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_path(program, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code
    found = [module for module in heavy if module in sys.modules]
    print(json.dumps([name, status, err.getvalue(), found]))
"""


def places_of(root: Path, but: str = "") -> list[str]:
    places = {
        "outputs": f"{root}/outputs",
        "track.uri": f"sqlite:///{root}/mlflow.db",
        "track.artifacts": f"{root}/artifacts",
    }
    return [f"{key}={place}" for key, place in places.items() if key != but]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Status, words and heavy modules after each command, one after another in a fresh process."""
    root = tmp_path_factory.mktemp("named")
    commands = {}
    for name in NAMES:
        missing = "sqlite:////proc/none/mlflow.db" if name == "track.uri" else "/proc/none"
        value = f"[{missing}]" if name in ("runs", "dataset.links") else missing
        commands[name] = [*READ.get(name, []), *places_of(root, name), f"{name}={value}"]
    for name, (arguments, _) in CELLS.items():
        commands[f"cell: {name}"] = ["task=sweep", *places_of(root), *arguments]
    given = tmp_path_factory.mktemp("given") / "xl.safetensors"
    save_file(OF_XL, given)
    commands["weights of another family"] = ["task=generate", *places_of(root), f"weights={given}"]
    command = [sys.executable, "-c", PROGRAM, str(PROJECT / "run.py"), json.dumps(commands), json.dumps(HEAVY)]
    surroundings = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, cwd=root, timeout=240, check=True)
    found = {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}
    assert set(found) == {*NAMES, "weights of another family", *(f"cell: {name}" for name in CELLS)}
    return {**found, "left": sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())}


@pytest.mark.parametrize("name", NAMES)
def test_a_path_that_is_not_there_is_told_before_anything_is_imported(told: dict[str, Any], name: str) -> None:
    status, words, heavy = told[name]
    assert status == (1 if name in ("recipe", "outputs") else 2), words
    (sentence,) = words.splitlines()
    value = "sqlite:////proc/none/mlflow.db" if name == "track.uri" else "/proc/none"
    assert sentence.startswith(f"t2i: {name}={value}"), sentence
    assert heavy == []


@pytest.mark.parametrize("name", CELLS)
def test_a_mistake_in_a_cell_is_told_before_anything_is_imported(told: dict[str, Any], name: str) -> None:
    status, words, heavy = told[f"cell: {name}"]
    assert (status, heavy) == (2, []) and words.count("\n") == 1 and CELLS[name][1] in words


def test_weights_of_another_family_are_told_from_their_header(told: dict[str, Any]) -> None:
    status, words, heavy = told["weights of another family"]
    assert (status, heavy) == (2, []) and "LoRA of rank 4 for Stable Diffusion XL" in words and "model=tiny" in words


def test_no_run_is_left(told: dict[str, Any]) -> None:
    assert told["left"] == []


def test_every_key_that_names_a_path_is_among_them() -> None:
    assert MADE < PATHS and {*PATHS, *LISTS} <= keys().keys()
    assert set(READ) <= set(NAMES)
