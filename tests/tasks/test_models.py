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
from ..models import toy_flux2
from ..web.conftest import serving

MODELS: dict[str, Callable[[Path], list[str]]] = {
    **dict.fromkeys(["tiny", "tiny_sdxl", "tiny_flow"], lambda _: []),
    "flux2_klein_4b": lambda folder: toy_flux2.typed(folder),
}
"""By name: what is typed beside it, of a folder where a toy of its classes may be written."""
LINE = [*SCENES, *TOY, "training.validation_images=0"]
STRATEGIES: dict[str, list[str]] = {kind: [] for kind in SCHEMAS["strategy"]} | {
    "lora": ["strategy.text_targets=[q_proj,v_proj]"],
    "pivotal": ["training.captions.prefix='<subject> '", "strategy.initializers=[cat]"],
    "textual_inversion": ["training.captions.prefix='<subject> '", "strategy.vectors=2"],
}
"""With what is typed beside their names."""
CROSS = r"strategy={kind} trains cross-attention layers, .* has none: .*; use strategy=attn_add_v"
ONE_TOWER = (
    r"strategy=text_adapter puts one text tower .* reads 2 text encoders side by side; use strategy=text_encoder or"
)
REFUSED = {
    ("tiny", "attn_add_v"): r"strategy=attn_add_v .* the U-Net of .* has none; use strategy=attn2_to_v",
    ("tiny_sdxl", "attn_add_v"): r"strategy=attn_add_v .* the U-Net of .* has none; use strategy=attn2_to_v",
    ("tiny_sdxl", "text_adapter"): ONE_TOWER,
    ("tiny_flow", "text_adapter"): ONE_TOWER,
    ("flux2_klein_4b", "text_adapter"): r"strategy=text_adapter puts .* reads a language model",
    **{
        (
            model,
            kind,
        ): rf"strategy={kind} teaches words to CLIP's text encoders .* reads text with .*; use strategy=lora"
        for kind in ("pivotal", "textual_inversion")
        for model in ("tiny_flow", "flux2_klein_4b")
    },
    **{
        (model, kind): CROSS.format(kind=kind)
        for kind in ("attn2", "attn2_kv", "attn2_to_v")
        for model in ("tiny_flow", "flux2_klein_4b")
    },
}
"""By model and strategy: why it means nothing to the family."""
NO_CLIP = {"flux2_klein_4b"}
"""Whose text encoder no LoRA adapts."""
UNWRITTEN = {
    (model, format): said.format(title=title)
    for model, title in (("tiny_flow", "Stable Diffusion 3 and 3.5"), ("flux2_klein_4b", "FLUX.2 klein"))
    for format, said in {
        "single_file": "{title} has no single file that is written here; use format=diffusers",
        "kohya": "format=kohya has no names for the layers of {title}; use format=diffusers",
    }.items()
}
"""By model and format: why it cannot be exported so."""
SWEPT = dict.fromkeys(["tiny_flow", "flux2_klein_4b"], "[flow_euler,flow_dpmpp_2m]")
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
    "curve": ["run={kept}", "training.steps=2", "training.milestones=[1]"],
    "sweep": SWEEP,
    "pipeline": [*SWEEP, "parts=[data,verify,train,compare]"],
    "pipeline plan": ["plan=true"],
    "doctor": [],
    "store": [],
    "report": ["runs=[{lora}]"],
    "diff": ["runs=[{lora},{text_encoder}]"],
    "bundle": ["run={lora}"],
}
"""What is typed behind a task; {...}: the run folder of a strategy's training, of one that kept a checkpoint, or of a measurement
of the base or tuned model."""
ELSEWHERE = {Task.train, Task.export, Task.rerun, Task.prompt, Task.serve, Task.clip}
"""Tasks that have a test of their own below."""


class Runs:
    """Command lines with one model, and what they leave for others."""

    def __init__(self, lab: Lab, model: str) -> None:
        self.lab, self.model = lab, model
        self.typed = [f"model={model}", *MODELS[model](lab.root / "toys" / model)]
        self.folders: dict[str, Path] = {}

    def ask(self, *arguments: str, **options: bool) -> Ended:
        arguments = tuple(one.replace("[ddim,euler]", SWEPT.get(self.model, "[ddim,euler]")) for one in arguments)
        return self.lab.here(*self.typed, *LINE, *arguments, **options)

    def trained(self, kind: str, *more: str) -> Ended:
        """Two steps of a strategy."""
        own = STRATEGIES[kind] if self.model not in NO_CLIP else []
        return self.ask("task=train", f"strategy={kind}", *own, "training.steps=2", *more)

    def __getitem__(self, name: str) -> Path:
        if name not in self.folders:
            if name in STRATEGIES:
                ended = self.trained(name)
            elif name == "kept":
                ended = self.trained("lora", "training.milestones=[1]", "training.resume=never")
            else:
                ended = self.ask("task=evaluate", *([f"weights={self['lora']}"] if name == "tuned" else []))
            assert ended.status == 0, ended.err
            self.folders[name] = ended.folder
        return self.folders[name]


# tiny is what every other test of a task runs with.
@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] * (name == "tiny")) for name in MODELS]
)
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
    for key in [*STRATEGIES, "kept", "base", "tuned"]:
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
    options = [*runs.typed, f"weights={runs['lora']}", "scheduler.steps=1"]
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
    if not family(compose(runs.typed).model).unlike_clip:
        assert ended.status == 0, ended.err
    else:
        said = "reads (2 text encoders side by side|a language model .*), and a CLIP has one text tower"
        assert ended.status == 2 and re.search(said, ended.err)
