"""Each check of the wiring passes on a sound model and fails on the fault that it is there for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from t2i.config import compose
from t2i.models.config import Model
from t2i.models.load import Models
from t2i.models.weights import count
from t2i.training import wiring
from t2i.training.attention import Attn2ToV
from t2i.training.lora import Lora
from t2i.training.strategies import Strategy, TextEncoder
from t2i.training.wiring import Check

from .conftest import DTYPES, STRATEGIES

Loader = Callable[[Model], Models]


def sound(models: Models, toy: Model) -> Model:
    """The configuration with the counts of the toy model, as conf/model/sd15.yaml has those of SD 1.5."""
    return replace(toy, parameters={name: count(module.parameters()) for name, module in models.modules.items()})


def checks(models: Models, config: Model, strategy: Strategy, load: Callable[[], Models]) -> dict[str, Check]:
    """All checks in the order of task=verify, by name."""
    found = [*wiring.structure(models, config), *wiring.hand_overs(models, config), *wiring.text_key_layouts(models)]
    found += [
        *wiring.conditions(models),
        *wiring.gradients(models, strategy),
        *wiring.round_trip(models, strategy, load),
    ]
    assert len({check.name for check in found}) == len(found)
    return {check.name: check for check in found}


def failed(found: dict[str, Check]) -> list[str]:
    return [name for name, check in found.items() if not check.ok]


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_sound_model_passes(toy: Model, loaded: Loader, name: str, precision: str) -> None:
    models, strategy = loaded(toy), STRATEGIES[name]
    strategy.attach(models)
    models.to("cpu", DTYPES[precision])
    found = checks(models, toy, strategy, lambda: loaded(toy))
    assert failed(found) == []
    assert found["cross-attention layers in the U-Net"].found == "4"
    states = found["text states handed to the U-Net"].found
    whole = strategy.trains_text and name not in (
        "text_adapter",
        "textual_inversion",
    )  # whose tower stays in the compute dtype
    kind = "float32" if precision == "no" or whole else "bfloat16"
    assert states == f"(1, {toy.tokens}, 24) {kind}"
    trainable = found[f"trainable parameters ({name})"]
    assert trainable.found == f"{strategy.expected(models):,}" == trainable.expected
    kept = [p for module in models.modules.values() for p in module.parameters()]
    assert all(p.is_meta and p.grad is None for p in kept), "two full-size models would need twice the memory"


def test_the_bundled_model_can_be_trained_in_half_precision(loaded: Loader) -> None:
    """Its lowest level is one place wide: attention there has no gradient but rounding in float32, and bf16 has none."""
    models, strategy = loaded(compose(["model=tiny"]).model), Lora()
    strategy.attach(models)
    models.to("cpu", torch.bfloat16)
    assert gradient_failures(models, strategy) == []


def test_parameters_are_counted(models: Models, toy: Model) -> None:
    config = sound(models, toy)
    assert failed({check.name: check for check in wiring.structure(models, config)}) == []
    config.parameters["unet"] += 1
    (wrong,) = [check for check in wiring.structure(models, config) if not check.ok]
    assert wrong.name == "parameters of the unet"
    assert int(wrong.expected.replace(",", "")) == int(wrong.found.replace(",", "")) + 1


EXPECTATIONS = {
    "cross-attention layers in the U-Net": {"cross_attention_layers": 16},
    "width that the cross-attention reads": {"width": 768},
    "text states handed to the U-Net": {"width": 768},
    "captions to token ids": {"tokens": 77},
}


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_wrong_expectations_of_the_structure_fail(models: Models, toy: Model, name: str) -> None:
    config = replace(toy, **EXPECTATIONS[name])  # type: ignore[arg-type]
    found = [*wiring.structure(models, config), *wiring.hand_overs(models, config)]
    assert name in [check.name for check in found if not check.ok]


def test_a_prediction_that_ignores_the_caption_fails(models: Models, toy: Model) -> None:
    with torch.no_grad():
        for name, parameter in models.unet.named_parameters():
            if name.endswith("attn2.to_v.weight"):
                parameter.zero_()
    wrong = [check for check in wiring.hand_overs(models, toy) if not check.ok]
    assert [(check.name, check.found) for check in wrong] == [("a changed caption changes the prediction", "0")]


def test_a_picture_of_another_size_fails(models: Models, toy: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    small = np.zeros((1, 8, 8, 3), np.uint8)
    monkeypatch.setattr(wiring, "decode", lambda models, latents: small)
    wrong = [check.name for check in wiring.hand_overs(models, toy) if not check.ok]
    assert wrong == ["latents to picture", "picture to latent moments"]


def test_weights_in_a_key_layout_that_is_not_translated_fail(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "text_layout", lambda state, target: state)
    assert sorted(check.ok for check in wiring.text_key_layouts(models)) == [False, True]


def first_value_projection(models: Models) -> tuple[str, torch.nn.Parameter]:
    return next((n, p) for n, p in models.unet.named_parameters() if n.endswith("attn2.to_v.weight"))


def gradient_failures(models: Models, strategy: Strategy) -> list[str]:
    return [check.name for check in wiring.gradients(models, strategy) if not check.ok]


def test_a_chosen_tensor_that_is_frozen_fails(models: Models) -> None:
    strategy = Attn2ToV()
    strategy.attach(models)
    first_value_projection(models)[1].requires_grad_(False)
    assert gradient_failures(models, strategy) == ["trainable parameters (attn2_to_v)"]


def test_a_tensor_too_many_in_the_trained_network_fails(models: Models) -> None:
    strategy = Attn2ToV()
    strategy.attach(models)
    models.unet.conv_in.weight.requires_grad_(True)
    assert gradient_failures(models, strategy) == ["trainable parameters (attn2_to_v)"]


def test_a_tensor_of_another_network_that_would_train_fails(models: Models) -> None:
    strategy = Attn2ToV()
    strategy.attach(models)
    next(models.text_encoder.parameters()).requires_grad_(True)
    wrong = [check for check in wiring.gradients(models, strategy) if not check.ok]
    assert [check.name for check in wrong] == ["other tensors that a gradient reaches"]
    assert "text_encoder." in wrong[0].found and wrong[0].found.startswith("1 ")


def test_a_chosen_tensor_that_no_gradient_reaches_fails(models: Models) -> None:
    strategy = Attn2ToV()
    strategy.attach(models)
    name, _ = first_value_projection(models)
    output = models.unet.get_submodule(name.removesuffix("to_v.weight") + "to_out.0")
    with torch.no_grad():
        output.weight.zero_()
    wrong = [check for check in wiring.gradients(models, strategy) if not check.ok]
    assert [check.name for check in wrong] == ["chosen tensors that a gradient reaches"]
    assert name in wrong[0].found


def test_trainable_parameters_in_half_precision_fail(models: Models) -> None:
    strategy = Attn2ToV()
    strategy.attach(models)
    for module in models.modules.values():
        module.to(torch.bfloat16)
    assert "dtype of trainable parameters" in gradient_failures(models, strategy)


@dataclass
class Forgetful(TextEncoder):
    """Saves the text encoder and does not put it back: the pipeline keeps the base one."""

    def load(self, models: Models, folder: Path) -> None:
        models.freeze()


@dataclass
class Misplaced(Lora):
    """Loads its adapters and leaves them off."""

    def load(self, models: Models, folder: Path) -> None:
        super().load(models, folder)
        models.unet.disable_adapters()


@pytest.mark.parametrize(
    ("strategy", "wrong"),
    [
        (Forgetful(), ["text encoder in the pipeline (digest)", "prediction after save and load"]),
        (Misplaced(), ["prediction after save and load"]),
    ],
    ids=["text encoder", "lora"],
)
def test_tuned_weights_that_are_not_in_use_fail(
    toy: Model, loaded: Loader, strategy: Strategy, wrong: list[str]
) -> None:
    models = loaded(toy)
    strategy.attach(models)
    found = checks(models, toy, strategy, lambda: loaded(toy))
    assert failed(found) == wrong
