"""`sampling.engine=openvino`, as people type it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from t2i import processes
from t2i.config import compose
from t2i.context import Run
from t2i.doctor import engines
from t2i.models.load import load
from t2i.sampling import engine as sampling
from t2i.sampling.engine import LARGE, Engine, slower
from t2i.stages.painting import offer_of, painter_of
from t2i.stages.tuned import find_tuned
from t2i.store import Store

from ..conftest import SCENES, TOY, Ended, Lab
from ..models import toy as toys
from ..models.toy import WIDTH

ENGINE = "sampling.engine=openvino"
BF16 = "launch.mixed_precision=bf16"
SMALL = ["model.name=toy", "model.resolution=64", f"model.width={WIDTH}", "model.cross_attention_layers=4"]
PROMPTS = 'prompts=["a red cat, asleep","two buses (blue)"]'


def pictures(ended: Ended) -> np.ndarray:
    assert ended.status == 0, ended.err
    return np.stack([np.asarray(Image.open(path)) for path in sorted((ended.folder / "images").glob("*.png"))])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A model whose conversion takes a second."""
    folder = tmp_path_factory.mktemp("small") / "model"
    toys.write(folder)
    return [*TOY, *SMALL, f"model.source={folder}"]


@pytest.fixture(scope="module")
def run_of(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Weights of the small model as a strategy leaves them, other than it began with."""

    def make(strategy: str) -> Path:
        config = compose([*small, f"strategy={strategy}"])
        models = load(config.model, Store(tmp_path_factory.mktemp("store")))
        config.strategy.attach(models)
        with torch.no_grad():
            for number, value in enumerate(config.strategy.trainable(models).values()):
                value.normal_(0, 0.4, generator=torch.Generator().manual_seed(number))
        folder = tmp_path_factory.mktemp(strategy) / "weights"
        folder.mkdir()
        config.strategy.save(models, folder)
        return folder.parent

    return make


def conversions(ended: Ended) -> dict[str, bool]:
    """By digest, whether the run found it in the store."""
    found = ended.json("stages.json")
    return {own["digest"]: own["reused"] for name, own in found.items() if name.startswith("converted/")}


def apart(left: np.ndarray, right: np.ndarray) -> int:
    return int(np.abs(left.astype(int) - right).max())


def test_networks_are_converted_once_and_pictures_are_those_of_torch(lab: Lab) -> None:
    first = lab.here(*TOY, "task=generate", PROMPTS, ENGINE)
    again = lab.here(*TOY, "task=generate", PROMPTS, ENGINE, "seed=3", "scheduler=ddim")
    plain = lab.here(*TOY, "task=generate", PROMPTS)
    assert apart(pictures(first), pictures(plain)) <= 2 and pictures(plain).std() > 10
    assert len(conversions(first)) == 3 and conversions(again) == dict.fromkeys(conversions(first), True)
    assert conversions(plain) == {}
    generated = [
        next(name for name in run.json("stages.json") if name.startswith("generated")) for run in (first, plain)
    ]
    assert generated[0] != generated[1], "pictures of another engine are others"


def test_a_picture_says_what_drew_it_and_is_made_again_by_that(lab: Lab, small: list[str]) -> None:
    ended = lab.here(*small, "task=generate", PROMPTS, ENGINE)
    path = ended.folder / "images" / "000001.png"
    assert json.loads(Image.open(path).text["t2i"])["engine"] == "openvino"  # type: ignore[attr-defined]
    again = lab.here("task=generate", f"recipe={path}", "sampling.engine=torch", "scheduler.steps=3")
    assert (
        "the recipe says how the picture is made, and sampling.engine=torch, scheduler.steps=3 changes nothing"
        in again.out
    )
    assert again.status == 0 and np.array_equal(pictures(again)[0], np.asarray(Image.open(path)))
    assert len(conversions(again)) == 3


def test_tuned_weights_are_another_conversion_and_the_autoencoder_is_not(
    lab: Lab, small: list[str], run_of: Callable[[str], Path]
) -> None:
    own = [*small, "task=generate", 'prompts=["a green kite", "two dogs"]']  # which no other test has drawn
    weights = f"weights={run_of('attn2_to_v')}"
    base, tuned, plain = (lab.here(*own, *more) for more in ([ENGINE], [ENGINE, weights], [weights]))
    assert apart(pictures(tuned), pictures(plain)) <= 2 < apart(pictures(tuned), pictures(base))
    assert len(set(conversions(base)) & set(conversions(tuned))) == 1


def test_a_lora_is_merged_by_its_scale(lab: Lab, small: list[str], run_of: Callable[[str], Path]) -> None:
    """`weights_scale` is part of what is converted, and half of an adapter is another picture."""
    drawn, weights = [], f"weights={run_of('lora')}"
    for scale in ("1.0", "0.5"):
        own = (*small, "task=generate", PROMPTS, weights, f"weights_scale=[{scale}]")
        drawn.append(pictures(lab.here(*own, ENGINE)))
        assert apart(drawn[-1], pictures(lab.here(*own))) <= 2
    assert apart(*drawn) > 2


def test_numbers_say_what_drew_the_pictures(lab: Lab, small: list[str]) -> None:
    own = (*small, *SCENES, "task=evaluate", "eval.images=4")
    plain, fast = lab.here(*own), lab.here(*own, ENGINE)
    assert plain.status == fast.status == 0, fast.err
    generation = [run.json("definition.json")["generation"] for run in (plain, fast)]
    assert generation[1] == {**generation[0], "engine": "openvino"} and "engine" not in generation[0]


def test_a_plan_tells_what_will_be_converted(empty_lab: Lab, small: list[str]) -> None:
    ended = empty_lab.here(*small, "task=generate", PROMPTS, ENGINE, "plan=true")
    assert ended.status == 0 and all(f"converted: {part}" in ended.out for part in ("read", "predict", "decode"))


@pytest.mark.parametrize(
    "more",
    [
        ["image=ramp.png"],
        ["image=ramp.png", "mask=half.png"],
        ["cfg.prompt_weights=true"],
        ["cfg.negative_prompt=a (red)1.5 dog"],
    ],
    ids=["a picture", "a part of it anew", "words with weights", "what is not wanted"],
)
def test_it_draws_what_torch_draws_of(lab: Lab, small: list[str], more: list[str], tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8)[:, None, None], (1, 64, 3))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    Image.fromarray(np.tile(np.repeat([0, 255], 32).astype(np.uint8), (64, 1))).save(tmp_path / "half.png")
    typed = [f"{key}={tmp_path}/{value}" if key in ("image", "mask") else f"{key}={value}" for key, value in
             (text.split("=", 1) for text in more)]  # fmt: skip
    own = (*small, "task=generate", 'prompts=["a (red)1.6 cat"]', *typed, "scheduler.steps=4")
    fast, plain = pictures(lab.here(*own, ENGINE)), pictures(lab.here(*own))
    assert apart(fast, plain) <= 2
    without = pictures(lab.here(*small, "task=generate", 'prompts=["a (red)1.6 cat"]', "scheduler.steps=4"))
    assert apart(plain, without) > 2


def test_it_reads_words_that_were_learned(lab: Lab, small: list[str], run_of: Callable[[str], Path]) -> None:
    """A word's vectors are rows behind the vocabulary that the text encoder is converted with."""
    weights = f"weights={run_of('textual_inversion')}"
    own = (*small, "task=generate", 'prompts=["a <subject> on the beach"]', "scheduler.steps=4")
    learned = pictures(lab.here(*own, weights))
    assert apart(pictures(lab.here(*own, weights, ENGINE)), learned) <= 2 < apart(pictures(lab.here(*own)), learned)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (
            "launch.mixed_precision=fp16",
            "computes in float32, or bf16 where the processor has it, and launch.mixed_precision=fp16; type "
            "launch.mixed_precision=no, or sampling.engine=torch",
        ),
        ("launch.processes=2", "takes all cores in one process, and there are 2; type launch.processes=1"),
        ("sampling.compile=true", "type sampling.compile=false, or sampling.engine=torch"),
        ("sampling.vae_tiling=true", "type sampling.vae_tiling=false, or sampling.engine=torch"),
    ],
)
def test_what_it_cannot_is_refused_before_anything_is_loaded(empty_lab: Lab, typed: str, sentence: str) -> None:
    ended = empty_lab.here("task=generate", PROMPTS, ENGINE, typed)
    assert ended.status == 2 and sentence in ended.err and ended.err.count("\n") == 1


def test_bf16_is_refused_where_the_processor_has_none(empty_lab: Lab, processor: Callable[[str], None]) -> None:
    """A small model is drawn in float32 there, as torch does, and the run says so (tests/test_half.py)."""
    processor("")
    ended = empty_lab.here("task=generate", PROMPTS, ENGINE, BF16, "model=sd15")
    assert ended.status == 2 and "as this processor has no bf16" in ended.err and ended.err.count("\n") == 1


@pytest.fixture
def anew() -> Iterator[Callable[[], None]]:
    """Lets the next run of this process have another precision, as it would in a process of its own."""

    def reset() -> None:
        AcceleratorState._reset_state(reset_partial_state=True)

    reset()
    yield reset
    reset()


def test_in_bf16_pictures_are_others_from_the_same_conversion(
    lab: Lab, small: list[str], processor: Callable[[str], None], anew: Callable[[], None]
) -> None:
    processor("amx_bf16")
    own = [*small, "task=generate", 'prompts=["a blue boat", "two birds"]']
    whole, fast, torchs = (lab.here(*own, *more) for more in ([ENGINE], [ENGINE, BF16], [BF16]))
    assert conversions(fast) == dict.fromkeys(conversions(whole), True)
    generated = {next(n for n in run.json("stages.json") if n.startswith("generated")) for run in (whole, fast, torchs)}
    assert len(generated) == 3, "three sets in the store"
    differences = [np.abs(pictures(fast).astype(int) - pictures(other)).mean() for other in (whole, torchs)]
    assert max(differences) < 4 and pictures(whole).std() > 10
    told = json.loads(Image.open(fast.folder / "images" / "000000.png").text["t2i"])  # type: ignore[attr-defined]
    assert (told["engine"], told["precision"]) == ("openvino", "bf16")
    for drawn in (fast, torchs):
        anew()
        again = lab.here("task=generate", f"recipe={drawn.folder / 'images' / '000001.png'}")
        assert again.metrics == {"images": 1.0, "identical": 1.0} and np.array_equal(
            pictures(again)[0], pictures(drawn)[1]
        )


def test_a_gpu_is_refused(empty_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "device_type", lambda: "cuda")
    ended = empty_lab.here("task=generate", PROMPTS, ENGINE)
    assert ended.status == 2 and "computes on CPUs, and a GPU draws here; type sampling.engine=torch" in ended.err


def test_without_the_package_it_says_what_to_install(empty_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "find_spec", lambda name: None)
    ended = empty_lab.here("task=generate", PROMPTS, ENGINE)
    assert ended.status == 2 and "needs openvino; type: pip install" in ended.err


def test_the_doctor_says_whether_it_is_there(empty_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run, config = None, compose([])
    (there,) = engines.engines(config, run)  # type: ignore[arg-type]
    assert there.found.split(";")[0][:2].isdigit() and sampling.gain() in there.found
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    (absent,) = engines.engines(config, run)  # type: ignore[arg-type]
    assert absent.state.value == "ok" and "pip install" in absent.remedy
    monkeypatch.setattr(engines, "device_type", lambda: "cuda")
    assert list(engines.engines(config, run)) == []  # type: ignore[arg-type]


def test_long_drawing_on_a_cpu_says_what_would_be_faster(
    monkeypatch: pytest.MonkeyPatch, processor: Callable[[str], None]
) -> None:
    assert processes.device_type() == "cpu" and slower(Engine.torch, LARGE - 1) == ""
    assert slower(Engine.torch, LARGE).startswith("torch draws on this CPU; sampling.engine=openvino is ")
    assert slower(Engine.openvino, LARGE) == ""
    for has, told in (("amx_bf16", True), ("", False)):
        processor(has)
        assert ("launch.mixed_precision=bf16 5 times (torch so 3.6 times)" in slower(Engine.torch, LARGE)) is told
    monkeypatch.setattr(sampling, "find_spec", lambda name: None)
    assert "pip install" in slower(Engine.torch, LARGE)


def test_the_page_draws_with_it(lab: Lab, small: list[str], run_of: Callable[[str], Path], tmp_path: Path) -> None:
    """Shares of adapters are settled by a conversion, so that the page offers none; another size is refused."""
    own = [*small, ENGINE, f"weights={run_of('lora')}"]
    config = compose([*own, f"outputs={lab.root}"])
    run = Run(tmp_path, Store(lab.root / "store"))
    painter = painter_of(config, run, find_tuned(config, run))
    offer = offer_of(config, painter)
    (picture,) = painter.draw(offer.read({"prompt": "a red cat", "seed": 0}))
    ended = lab.here(*own, "task=generate", 'prompts=["a red cat"]')
    assert not painter.adapters and np.array_equal(pictures(ended)[0], np.asarray(Image.open(picture.path)))
