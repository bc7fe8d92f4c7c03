"""bf16 on a CPU: for which models, on which processors, and what is said of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from t2i import half
from t2i.config import Precision, Task, compose
from t2i.models.size import SMALL, scalars

from .conftest import SCENES, Lab

BF16 = "launch.mixed_precision=bf16"


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize(
    ("model", "large"), [("tiny", False), ("tiny_flow", False), ("sd15", True), ("sdxl", True), ("sd35_medium", True)]
)
def test_small_models_stay_in_float32(no_card: None, model: str, large: bool) -> None:
    config = compose([f"model={model}", BF16])
    assert (scalars(config.model) >= SMALL) is large and scalars(config.model) > 10**6
    half.settle(config)
    assert config.launch.mixed_precision is (Precision.bf16 if large else Precision.no)
    assert ("float32 in place of bf16" in half.advice(config, [BF16])) is not large


@pytest.mark.parametrize("task", half.DRAWING)
@pytest.mark.parametrize("has", ["amx_bf16", ""])
def test_small_models_draw_in_bf16_where_the_processor_multiplies_it(
    no_card: None, processor: Callable[[str], None], task: Task, has: str
) -> None:
    processor(has)
    config = compose([f"task={task.value}", BF16])
    half.settle(config)
    assert config.launch.mixed_precision is (Precision.bf16 if has else Precision.no)


@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_nothing_else_is_chosen_for_anybody(no_card: None, precision: str) -> None:
    config = compose([f"launch.mixed_precision={precision}"])
    half.settle(config)
    assert config.launch.mixed_precision is Precision(precision)


def test_a_model_of_unknown_size_has_what_was_asked_for(no_card: None, tmp_path: Path) -> None:
    config = compose([f"model.source={tmp_path}", BF16])
    half.settle(config)
    assert scalars(config.model) == 0 and config.launch.mixed_precision is Precision.bf16


def test_a_card_has_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half, "device_type", lambda: "cuda")
    config = compose([BF16])
    half.settle(config)
    assert config.launch.mixed_precision is Precision.bf16 and half.advice(config, [BF16]) == ""


@pytest.mark.parametrize("has", ["amx_bf16", ""])
@pytest.mark.parametrize(("task", "share"), [("train", "half the time"), ("generate", "a third of the time")])
def test_large_models_hear_of_it_where_the_processor_has_it(
    no_card: None, processor: Callable[[str], None], has: str, task: str, share: str
) -> None:
    processor(has)
    large, small = compose(["model=sd15", f"task={task}"]), compose([f"task={task}"])
    assert (f"launch.mixed_precision=bf16 takes about {share}" if has else "") in half.advice(large, []) and bool(
        half.advice(large, [])
    ) is bool(has)
    assert half.advice(small, []) == "" and half.advice(compose(["model=sd15", "task=prepare"]), []) == ""


def test_a_run_says_which_precision_it_has(lab: Lab, processor: Callable[[str], None]) -> None:
    processor("")
    ended = lab.here("task=generate", *SCENES, "prompts=[a cat]", BF16, "scheduler.steps=2")
    assert ended.status == 0 and "float32 in place of bf16" in ended.out
    assert "mixed_precision: 'no'" in (ended.folder / "config.yaml").read_text()
