"""Every task with every family at toy size: it works, or says in a sentence why not. A further family is one line more."""

import io
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import httpx
import numpy as np
import pytest
from PIL import Image

from t2i.config import SCHEMAS, Task, compose
from t2i.models.source import family

from ..conftest import SCENES, SWEEP, TOY, Ended, Lab
from ..web.conftest import serving

MODELS = ["tiny", "tiny_sdxl", "tiny_flow"]
LINE = [*SCENES, *TOY, "training.validation_images=0"]
STRATEGIES: dict[str, list[str]] = {kind: [] for kind in SCHEMAS["strategy"]} | {
    "lora": ["strategy.text_targets=[q_proj,v_proj]"],
    "pivotal": ["training.captions.prefix='<subject> '", "strategy.initializers=[cat]"],
    "textual_inversion": ["training.captions.prefix='<subject> '", "strategy.vectors=2"],
}
"""With what is typed beside their names."""
ONE_TOWER = (
    r"strategy=text_adapter puts one text tower .* reads 2 text encoders side by side; use strategy=text_encoder or"
)
REFUSED = {
    ("tiny", "attn_add_v"): r"strategy=attn_add_v .* the U-Net of .* has none; use strategy=attn2_to_v",
    ("tiny_sdxl", "attn_add_v"): r"strategy=attn_add_v .* the U-Net of .* has none; use strategy=attn2_to_v",
    ("tiny_sdxl", "text_adapter"): ONE_TOWER,
    ("tiny_flow", "text_adapter"): ONE_TOWER,
    **{
        (
            "tiny_flow",
            kind,
        ): rf"strategy={kind} teaches words to CLIP's text encoders .* reads text with .*; use strategy=lora"
        for kind in ("pivotal", "textual_inversion")
    },
    **{
        ("tiny_flow", kind): rf"strategy={kind} trains cross-attention layers, .* has none: .*; use strategy=attn_add_v"
        for kind in ("attn2", "attn2_kv", "attn2_to_v")
    },
}
"""By model and strategy: why it means nothing to the family."""
UNWRITTEN = {
    (
        "tiny_flow",
        "single_file",
    ): "Stable Diffusion 3 and 3.5 has no single file that is written here; use format=diffusers",
    (
        "tiny_flow",
        "kohya",
    ): "format=kohya has no names for the layers of Stable Diffusion 3 and 3.5; use format=diffusers",
}
"""By model and format: why it cannot be exported so."""
SWEPT = {"tiny_flow": "[flow_euler,flow_dpmpp_2m]"}
"""Schedulers of a sweep, where the usual ones mean nothing."""
TASKS: dict[str, list[str]] = {
    "prepare": [],
    "embed": [],
    "verify": ["strategy=both"],
    "verify weights": ["weights={text_encoder}"],
    "generate": ["prompts=[a red bus]", "cfg.negative_prompt=blurry"],
    "generate weights": ["prompts=[a red bus]", "weights={text_encoder}"],
    "evaluate": ["weights={lora}"],
    "compare": ["runs=[{base},{tuned}]"],
    "drift": ["runs=[{lora},{text_encoder}]", "dataset.domains=[animal,food]", "dataset.val=40"],
    "sweep": SWEEP,
    "pipeline": [*SWEEP, "parts=[data,verify,train,compare]"],
    "pipeline plan": ["plan=true"],
    "doctor": [],
    "store": [],
    "report": ["runs=[{lora}]"],
    "diff": ["runs=[{lora},{text_encoder}]"],
    "bundle": ["run={lora}"],
}
"""What is typed behind a task; {...}: the run folder of a strategy's training, or of a measurement of the base or tuned model."""
ELSEWHERE = {Task.train, Task.export, Task.rerun, Task.prompt, Task.serve, Task.clip}
"""Tasks that have a test of their own below."""


class Runs:
    """Command lines with one model, and what they leave for others."""

    def __init__(self, lab: Lab, model: str) -> None:
        self.lab, self.model = lab, model
        self.folders: dict[str, Path] = {}

    def ask(self, *arguments: str, **options: bool) -> Ended:
        arguments = tuple(one.replace("[ddim,euler]", SWEPT.get(self.model, "[ddim,euler]")) for one in arguments)
        return self.lab.here(f"model={self.model}", *LINE, *arguments, **options)

    def trained(self, kind: str) -> Ended:
        """Two steps of a strategy."""
        return self.ask("task=train", f"strategy={kind}", *STRATEGIES[kind], "training.steps=2")

    def __getitem__(self, name: str) -> Path:
        if name not in self.folders:
            if name in STRATEGIES:
                ended = self.trained(name)
            else:
                ended = self.ask("task=evaluate", *([f"weights={self['lora']}"] if name == "tuned" else []))
            assert ended.status == 0, ended.err
            self.folders[name] = ended.folder
        return self.folders[name]


@pytest.fixture(scope="module", params=MODELS)
def runs(request: pytest.FixtureRequest, lab: Lab) -> Runs:
    return Runs(lab, request.param)


def test_every_task_is_asked_for() -> None:
    assert {Task(name.split()[0]) for name in TASKS} | ELSEWHERE == set(Task)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_works(runs: Runs, name: str) -> None:
    typed = [argument if "{scheduler" in argument else _filled(argument, runs) for argument in TASKS[name]]
    ended = runs.ask(f"task={name.split()[0]}", *typed)
    assert ended.status == 0, ended.err
    if "plan=true" not in typed:
        assert all(math.isfinite(value) for value in ended.metrics.values())


def _filled(argument: str, runs: Runs) -> str:
    for key in [*STRATEGIES, "base", "tuned"]:
        if f"{{{key}}}" in argument:
            argument = argument.replace(f"{{{key}}}", str(runs[key]))
    return argument


@pytest.mark.parametrize("kind", STRATEGIES)
def test_every_strategy_trains_or_says_why_not(runs: Runs, kind: str) -> None:
    said = REFUSED.get((runs.model, kind))
    ended = runs.trained(kind)
    if said is None:
        numbers = ended.metrics
        runs.folders.setdefault(kind, ended.folder)
        assert numbers["trainable_parameters"] > 0 and 0 < numbers["final_loss"] < 100
        # plain diffusers draws what was trained, from the exported pipeline
        assert numbers["reload_max_difference"] <= 1
    else:
        assert ended.status == 2 and re.search(said, ended.err.splitlines()[-1])


def pixels(ended: Ended) -> np.ndarray:
    assert ended.status == 0, ended.err
    with Image.open(ended.folder / "images" / "000000.png") as image:
        return np.asarray(image).astype(int)


DRAWN = ["task=generate", "prompts=[a red bus]", "cfg.scale=3"]


@pytest.mark.parametrize("format", ["diffusers", "single_file", "kohya", "peft"])
def test_what_is_exported_draws_what_its_run_draws(runs: Runs, format: str) -> None:
    expected, base = pixels(runs.ask(*DRAWN, f"weights={runs['lora']}")), pixels(runs.ask(*DRAWN))
    exported = runs.ask("task=export", f"run={runs['lora']}", f"format={format}")
    if said := UNWRITTEN.get((runs.model, format)):
        assert exported.status == 2 and said in exported.err
        return
    assert exported.metrics["reload_max_difference"] <= 1
    name = {"diffusers": "pipeline", "peft": f"{runs.model}_tuned"}.get(format, f"{runs.model}_tuned.safetensors")
    path = exported.folder / "export" / name
    given = [f"weights={path}"]
    if format in ("diffusers", "single_file"):
        given = [f"model.source={path}", "model.init=pretrained"]
    found = pixels(runs.ask(*DRAWN, *given))
    assert np.abs(expected - base).max() > 0 and np.abs(found - expected).max() <= 1


def test_a_bundle_is_repeated(runs: Runs) -> None:
    (bundle,) = runs.ask("task=bundle", f"run={runs['unet']}").folder.glob("*.tar.gz")
    ended = runs.ask("task=rerun", f"bundle={bundle}")
    assert ended.metrics["different"] == 0 and ended.metrics["equal"] > 5


def test_prompts_are_drawn_as_they_are_typed(runs: Runs) -> None:
    typed = io.StringIO("a red cat\n/negative blurry\n/size 64x96\ntwo dogs\n/compare\n/quit\n")
    with mock.patch.object(sys, "stdin", typed):
        ended = runs.ask("task=prompt", f"weights={runs['lora']}", "scheduler.steps=1")
    assert ended.metrics["pictures"] == 4


@pytest.fixture
def server(runs: Runs, tmp_path: Path) -> Iterator[Callable[..., httpx.Response]]:
    options = [f"model={runs.model}", f"weights={runs['lora']}", "scheduler.steps=1"]
    with serving(tmp_path, *options) as running:
        yield running.ask


def test_the_endpoint_draws(server: Callable[..., httpx.Response]) -> None:
    for order in ({}, {"model": "base", "width": 96, "negative_prompt": "blurry"}):
        answer = server(**order)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(
            ("image/png", "application/json")
        )


def test_a_tuned_clip_is_the_text_encoder_of_a_family_that_has_one(runs: Runs) -> None:
    tune = ["task=clip", "clip.batch_size=8", "clip.epochs=1", "clip.images=4", "clip.text_from_model=true"]
    ended = runs.ask(*tune, *(["clip.generate=2"] if runs.model == "tiny" else []))
    if len(family(compose([f"model={runs.model}"]).model).encoders) == 1:
        assert ended.status == 0, ended.err
    else:
        assert ended.status == 2 and "reads 2 text encoders side by side, and a CLIP has one text tower" in ended.err
