"""Models whose pictures OpenVINO computes, against torch on the same networks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from t2i.errors import ConfigError, UserError
from t2i.models import converted
from t2i.models.config import Model
from t2i.models.converted import PARTS, PREDICT, Graph, computed, convert
from t2i.models.families.picture import Picture
from t2i.models.families.sd1 import StableDiffusion1
from t2i.models.load import load
from t2i.models.parts import Models
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.sampler import encode, sample
from t2i.store import Store

from .test_families import MORE, TOYS

PROMPTS = ["a red cat", "two buses", "a green apple"]
LEVELS = 2
"""Grey levels that two orders of summation may be apart."""


@pytest.fixture(scope="module", params=[*TOYS, *MORE])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Models, Models]:
    """The toy of each family, by torch and by OpenVINO."""
    folder = tmp_path_factory.mktemp("converted")
    plain = load((TOYS | MORE)[request.param](folder / "model"), Store(folder / "store"))
    for part in PARTS:
        convert(plain, part, folder)
    return plain, computed(plain, {part: Graph(folder, part) for part in PARTS})


def drawn(models: Models, batch_size: int = 3) -> np.ndarray:
    scheduler = Scheduler.by_class(models.family.schedulers[0], models.schedule(), 4)
    guidance = Guidance(scale=4.0)
    prompts = encode(models, PROMPTS, guidance)
    return np.concatenate(list(sample(models, prompts, range(len(PROMPTS)), scheduler, guidance, batch_size)))


def apart(left: np.ndarray, right: np.ndarray) -> int:
    return int(np.abs(left.astype(int) - right).max())


def test_pictures_of_every_family_are_those_of_torch(pair: tuple[Models, Models]) -> None:
    plain, fast = pair
    ours, theirs = drawn(fast), drawn(plain)
    assert apart(ours, theirs) <= LEVELS
    assert theirs.std() > 10 and apart(theirs[:1], theirs[1:2]) > 10 * LEVELS, "pictures that could differ"


def test_predictions_are_in_float32_whatever_the_processor_could_do(pair: tuple[Models, Models]) -> None:
    """In bfloat16, which OpenVINO takes by itself where there is AMX, they would be apart by 1e-2 of their size."""
    plain, fast = pair
    latents = torch.randn(fast.latent_shape(2), generator=torch.Generator().manual_seed(1))
    rows, time = plain.family.conditions(plain, PROMPTS[:2]), torch.tensor(500)
    size = [Picture.whole((plain.resolution, plain.resolution))]
    with torch.no_grad():
        theirs, ours = (m.family.predict(m, latents, time, rows, size) for m in (plain, fast))
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


@pytest.mark.parametrize(("precision", "hint"), [("no", "f32"), ("bf16", "bf16")])
def test_the_precision_is_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, hint: str
) -> None:
    asked = []

    class Core:
        def read_model(self, path: Path) -> None: ...

        def compile_model(self, model: None, device: str, settings: dict[str, object]) -> Any:
            asked.append(settings["INFERENCE_PRECISION_HINT"])
            return SimpleNamespace(create_infer_request=lambda: None)

    monkeypatch.setattr(converted, "quietly", lambda: SimpleNamespace(Core=Core))
    Graph(tmp_path, PREDICT, precision)
    assert asked == [hint]


def test_a_picture_has_the_same_bits_whatever_is_drawn_beside_it(pair: tuple[Models, Models]) -> None:
    """At these sizes; torch's products of another size sum in another order."""
    assert np.array_equal(drawn(pair[1], 1), drawn(pair[1], 3))


def test_evaluations_are_seen_by_hooks_and_results_stay_the_callers(pair: tuple[Models, Models]) -> None:
    """A multistep solver keeps earlier predictions: the next evaluation must not write over them."""
    fast, seen = pair[1], list[int]()
    hook = fast.denoiser.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    rows, size = fast.family.conditions(fast, PROMPTS[:1]), [Picture.whole((fast.resolution, fast.resolution))]
    one = fast.family.predict(fast, torch.ones(fast.latent_shape(1)), torch.tensor(900), rows, size)
    before = one.clone()
    other = fast.family.predict(fast, torch.zeros(fast.latent_shape(1)), torch.tensor(100), rows, size)
    hook.remove()
    assert seen == [1, 1] and torch.equal(one, before) and not torch.equal(one, other)


def test_another_size_is_refused_by_name(pair: tuple[Models, Models]) -> None:
    fast = pair[1]
    rows, size = fast.family.conditions(fast, PROMPTS[:1]), [Picture.whole((fast.resolution, fast.resolution))]
    shape = (*fast.latent_shape(1)[:-1], 2 * fast.latent_shape(1)[-1])
    with pytest.raises(ConfigError, match=r"the size that its networks were converted for.* type model\.resolution="):
        fast.family.predict(fast, torch.ones(shape), torch.tensor(900), rows, size)


def test_what_openvino_does_not_know_is_refused_by_name(models: Models, tmp_path: Path) -> None:
    class Odd(StableDiffusion1):
        title = "Odd Diffusion"

        def predict(self, models: Models, x: torch.Tensor, *rest: object) -> torch.Tensor:  # type: ignore[override]
            return super().predict(models, x, *rest) + torch.special.bessel_j0(x)  # type: ignore[arg-type]

    models.family = Odd()
    with pytest.raises(
        UserError, match=r"predict of model=toy, a Odd Diffusion, cannot .*bessel_j0.*sampling\.engine=torch"
    ):
        convert(models, PREDICT, tmp_path)


def test_nobody_outside_is_told_of_a_conversion(toy_command: Callable[[str], str], toy: Model, tmp_path: Path) -> None:
    """Importing OpenVINO reports to its makers, and so does its usual way of conversion."""
    script = f"""
import sys
from pathlib import Path
from t2i.models.config import Model
from t2i.models.converted import Graph, convert
from t2i.models.load import load
from t2i.store import Store
folder = Path({str(tmp_path)!r})
convert(load(Model(name="toy", source={toy.source!r}, resolution=16), Store(folder)), "decode", folder)
Graph(folder, "decode")
print("openvino" in sys.modules, [name for name in sys.modules if name.startswith("openvino_telemetry")])
"""
    assert toy_command(script) == "True []"


def test_who_does_not_ask_imports_nothing_of_it(toy_command: Callable[[str], str]) -> None:
    modules = "t2i.sampling.sampler, t2i.stages.drawing, t2i.stages.generated, t2i.models.converted, t2i.doctor.engines"
    assert toy_command(f"import sys, {modules}; print([name for name in sys.modules if 'openvino' in name])") == "[]"


@pytest.fixture
def toy_command() -> Callable[[str], str]:
    """What a script prints in a process of its own."""
    return lambda script: subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    ).stdout.strip()
