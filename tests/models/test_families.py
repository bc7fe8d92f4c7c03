"""Every family against its plain pipeline of diffusers; and families with a fault, each caught by the check made for it."""

import copy
import inspect
import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import t2i
from t2i.errors import ConfigError
from t2i.models import source
from t2i.models.check import Check
from t2i.models.config import Init, Model
from t2i.models.families.family import Conditions, Family
from t2i.models.families.picture import Picture
from t2i.models.families.registry import DEFAULT, FAMILIES
from t2i.models.families.sd1 import StableDiffusion1, cross_attention_widths
from t2i.models.load import load
from t2i.models.parts import Models
from t2i.sampling import parity
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.sampler import denoise, encode, sample
from t2i.stages.exported import opened, save_pipeline
from t2i.store import Store
from t2i.training import wiring
from t2i.training.attention import Attn2ToV
from t2i.training.config import Training
from t2i.training.dataset import packed, unpacked
from t2i.training.lora import Lora
from t2i.training.objective import OBJECTIVES, objective_of
from t2i.training.strategies import Strategy, TextEncoder, UNet

from . import toy as toys
from . import toy_flux2 as flux2
from . import toy_sd3 as sd3

TOYS: dict[str, Callable[[Path], Model]] = {
    "sd1": toys.write,
    "sdxl": toys.write_sdxl,
    "sd3": sd3.write,
    "flux2": flux2.write,
}
"""By family: writes a pipeline small enough for a test, and says which model it is."""
MORE = {"sd2": toys.write_sd2, "sd3 with T5": sd3.write_t5}
"""Kinds of a family that differ enough to be held against the pipeline too."""
CAPTIONS = ["a red cat", "two buses"]


@pytest.fixture(scope="module", params=[*FAMILIES, *MORE])
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The toy of each family, loaded as every task loads a model."""
    folder = tmp_path_factory.mktemp("family")
    config = (TOYS | MORE)[request.param](folder / "model")
    return load(config, Store(folder / "store"))


def every(models: Models) -> list[Check]:
    """The checks of task=verify that know no strategy."""
    return [
        *parity.conditions(models), *parity.autoencoder(models), *parity.pictures(models), *wiring.conditions(models),
    ]  # fmt: skip


def negatives(pipeline: Any, text: str | None, count: int) -> dict[str, Any]:
    """How a pipeline is told a negative prompt: by its rows, where it takes no words."""
    if text is None or "negative_prompt" in inspect.signature(pipeline.__call__).parameters:
        return {} if text is None else {"negative_prompt": [text] * count}
    return {"negative_prompt_embeds": pipeline.encode_prompt([text] * count)[0]}


def last(kept: list[torch.Tensor]) -> dict[str, Any]:
    """Latents after every step, before any pipeline undoes its scale."""
    return {"callback_on_step_end": lambda pipeline, step, time, tensors: kept.append(tensors["latents"]) or tensors}


def kind_of(strategy: Strategy) -> str:
    return strategy.kind


def failed(checks: Iterable[Check]) -> list[str]:
    return [check.name for check in checks if not check.ok]


# -- families that are sound -----------------------------------------------------------------------------------------


def test_every_family_passes_its_checks(named: Models) -> None:
    checks = every(named)
    assert failed(checks) == [] and len({check.name for check in checks}) == len(checks) >= 8


def test_conditions_are_those_of_the_pipeline(named: Models) -> None:
    """Without the checks' own code: the rows are equal, and unlike each other."""
    theirs, none = named.family.encoded(named.pipeline(), CAPTIONS)
    ours, own = named.family.conditions(named, CAPTIONS), named.family.unconditional(named)
    assert set(ours) == set(own) == set(theirs) == set(none) == set(named.family.rows(named))
    for name, shape in named.family.rows(named).items():
        assert ours[name].shape == (2, *shape) and own[name].shape == (1, *shape)
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(own[name], none[name][:1], rtol=1e-5, atol=1e-5)
        assert not torch.allclose(ours[name][0], ours[name][1]) and not torch.allclose(ours[name][0], own[name][0])


def test_what_is_exported_has_every_tensor_where_plain_diffusers_looks(named: Models, tmp_path: Path) -> None:
    """A name that nobody looks for would leave a layer at random, without an error."""
    save_pipeline(named, tmp_path / "pipeline")
    plain = opened(tmp_path / "pipeline", named.family, torch.float32)
    for name, network in named.modules.items():
        ours, theirs = network.state_dict(), getattr(plain, name).state_dict()
        assert set(ours) == set(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours), name
    theirs, _ = named.family.encoded(plain, CAPTIONS)
    for name, rows in named.family.encoded(named.pipeline(), CAPTIONS)[0].items():
        torch.testing.assert_close(theirs[name], rows, rtol=1e-5, atol=2e-5)


def test_adapters_of_every_network_come_back_and_plain_diffusers_reads_them(named: Models, tmp_path: Path) -> None:
    strategy = Lora(text_targets=["q_proj", "v_proj"] if named.family.clips else [])
    tuned, fresh, plain = (replace(named, modules=copy.deepcopy(dict(named.modules))) for _ in range(3))
    strategy.attach(tuned)
    with torch.no_grad():
        for number, value in enumerate(strategy.trainable(tuned).values()):
            value.normal_(0, 0.1, generator=torch.Generator().manual_seed(number))
    strategy.save(tuned, tmp_path)
    strategy.load(fresh, tmp_path)
    pipeline = plain.pipeline()
    pipeline.load_lora_weights(tmp_path)
    for module in strategy.modules(named.family):
        ours = tensors(tuned.modules[module])
        assert ours and ours.keys() == tensors(fresh.modules[module]).keys()
        assert all(torch.equal(ours[name], value) for name, value in tensors(fresh.modules[module]).items())
        theirs = sorted(value.double().sum().item() for value in tensors(getattr(pipeline, module)).values())
        assert theirs == pytest.approx(sorted(value.double().sum().item() for value in ours.values()), abs=1e-5)


def tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Of the adapters on a network."""
    return {name: value for name, value in network.state_dict().items() if "lora_" in name}


@pytest.mark.parametrize("negative", [None, "", "blurry"])
def test_unconditional_is_one_of_the_conditions(named: Models, negative: str | None) -> None:
    """Guidance encodes it beside the prompts, training keeps it beside the captions: the same bits."""
    among, alone = named.family.conditions(named, [*CAPTIONS, negative]), named.family.unconditional(named, negative)
    for name in among:
        torch.testing.assert_close(among[name][-1:], alone[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("negative", [None, "a blurry drawing"])
@pytest.mark.parametrize("number", [0, 1])
def test_pictures_are_those_of_the_pipeline(named: Models, number: int, negative: str | None) -> None:
    kind = named.family.schedulers[number]
    scheduler, guidance = Scheduler.by_class(kind, named.schedule(), 4), Guidance(scale=6.0, negative_prompt=negative)
    ours = next(sample(named, encode(named, CAPTIONS, guidance), [1, 2], scheduler, guidance))
    pipeline = named.pipeline()
    pipeline.scheduler = scheduler.build(named.schedule())
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt=CAPTIONS,
        **negatives(pipeline, negative, 2),
        num_inference_steps=4,
        guidance_scale=6.0,
        height=named.resolution,
        width=named.resolution,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in (1, 2)],
        output_type="np",
    ).images
    assert ours.std() > 5 and np.abs(ours.astype(float) - (theirs * 255).round()).max() <= 1


@pytest.mark.parametrize("negative", [None, "a blurry drawing"])
@pytest.mark.parametrize("scale", [1.0, 6.0], ids=["without guidance", "with guidance"])
@pytest.mark.parametrize("number", [0, 1])
def test_latents_are_those_of_the_pipeline(named: Models, number: int, scale: float, negative: str | None) -> None:
    kind = named.family.schedulers[number]
    scheduler = Scheduler.by_class(kind, named.schedule(), 4)
    guidance = Guidance(scale=scale, negative_prompt=negative)
    # A batch of texts is rounded otherwise than each alone, as the pipeline reads them.
    rows, none = named.family.conditions(named, CAPTIONS[:1]), named.family.unconditional(named, negative)
    ours = denoise(named, rows, none, [1], scheduler, guidance)
    pipeline = named.pipeline()
    pipeline.scheduler = scheduler.build(named.schedule())
    pipeline.set_progress_bar_config(disable=True)
    kept: list[torch.Tensor] = []
    pipeline(
        prompt=CAPTIONS[:1],
        **negatives(pipeline, negative, 1),
        num_inference_steps=4,
        guidance_scale=scale,
        height=named.resolution,
        width=named.resolution,
        generator=torch.Generator("cpu").manual_seed(1),
        **last(kept),
    )
    theirs = named.family.spread(named, kept[-1])
    # One row of zeros that counts as many is rounded otherwise than many; so are tokens that lie otherwise in memory.
    most = 1e-5 if named.family.objective == "flow" else 0.0
    assert float((ours - theirs).abs().max()) <= most and float(ours.std()) > 0.1


def test_every_family_is_whole(named: Models) -> None:
    family = named.family
    assert list(named.modules) == list(family.networks) and list(named.tokenizers) == list(family.tokenizers)
    assert {family.denoiser, *family.encoders} <= set(family.networks)
    assert family.objective in OBJECTIVES and set(family.kohya) in (set(), set(family.trained))
    assert {family.denoiser} <= set(family.targets) <= set(family.trained)
    assert type(named.pipeline()).__name__ == family.pipelines[0] and len(set(family.schedulers)) == 2
    assert named.latent_shape(3)[0] == 3 and family.blocks(named.denoiser)
    for network, targets in family.targets.items():
        names = [f".{name}" for name, _ in named.modules[network].named_modules()]
        assert all(any(name.endswith(f".{target}") for name in names) for target in targets), network
    assert objective_of(named, Training()).refuses("toy") is None


def test_repeated_blocks_lie_beside_each_other(named: Models) -> None:
    """Each of them can be computed by itself, and none is a part of another one."""
    blocks = named.family.blocks(named.denoiser)
    inner = {id(part) for block in blocks.values() for part in block.modules() if part is not block}
    assert all(id(block) not in inner for block in blocks.values())
    assert all(type(block).forward is not torch.nn.Module.forward for block in blocks.values())


def test_no_two_families_share_a_pipeline() -> None:
    claimed = [name for family in FAMILIES.values() for name in family.pipelines]
    assert len(set(claimed)) == len(claimed) and set(TOYS) == set(FAMILIES)


def test_no_other_file_names_a_class_of_a_family() -> None:
    """But what is about CLIP itself, which is tuned and measured without any family."""
    allowed = re.compile(r"models/(families/|clip)|text_tower|training/contrastive/")
    classes = {name for family in FAMILIES.values() for name in [*family.networks.values(), *family.pipelines]}
    named = re.compile(rf"\b({'|'.join(sorted(classes))})\b")
    package = Path(t2i.__file__).parent
    found = {
        path.relative_to(package).as_posix(): match[0]
        for path in package.rglob("*.py")
        if not allowed.search(path.as_posix()) and (match := named.search(path.read_text(encoding="utf-8")))
    }
    assert found == {}


# -- families with a fault -------------------------------------------------------------------------------------------


class Unread(StableDiffusion1):
    """Hands a pooled vector over that the denoiser does not take."""

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        states = super().read(models, tokens)["states"]
        return {"states": states, "pooled": states.mean(dim=1)}

    def rows(self, models: Models) -> dict[str, tuple[int, ...]]:
        tokens, width = super().rows(models)["states"]
        return {"states": (tokens, width), "pooled": (width,)}

    def encoded(self, pipeline: object, captions: Sequence[str]) -> tuple[Conditions, Conditions]:
        both = super().encoded(pipeline, captions)
        return tuple(rows | {"pooled": rows["states"].mean(dim=1)} for rows in both)  # type: ignore[return-value]


class ZerosForNone(StableDiffusion1):
    """Takes zeros where there is no caption, as Stable Diffusion XL does: not what this pipeline does."""

    def tokens(self, models: Models, captions: Sequence[str | None]) -> Conditions:
        given = torch.tensor([caption is not None for caption in captions])
        return super().tokens(models, captions) | {"given": given}

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        return {"states": super().read(models, tokens)["states"] * tokens["given"][:, None, None]}


class LayerBeforeLast(StableDiffusion1):
    """Reads another layer of the text encoder."""

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        return {"states": models.text_encoder(tokens["ids"], output_hidden_states=True).hidden_states[-2]}


class Deaf(StableDiffusion1):
    """Its denoiser is given no text."""

    def predict(self, models: Models, x, time, conditions: Conditions, pictures: Sequence[Picture]) -> torch.Tensor:  # type: ignore[no-untyped-def]
        nothing = {name: torch.zeros_like(rows) for name, rows in conditions.items()}
        return super().predict(models, x, time, nothing, pictures)


class SaysItReadsSizes(StableDiffusion1):
    """Size ids that nobody reads."""

    reads_sizes = True


class Unscaled(StableDiffusion1):
    """Trains on latents of another scale than it draws."""

    def latents(self, models: Models, moments: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return super().latents(models, moments, noise) / models.vae.config["scaling_factor"]


class DecodedUnscaled(StableDiffusion1):
    """Draws latents of another scale than the pipeline."""

    def decode(self, models: Models, latents: torch.Tensor) -> torch.Tensor:
        return super().decode(models, latents * models.vae.config["scaling_factor"])


class OtherNoise(StableDiffusion1):
    """Draws with a noise schedule that is not the pipeline's."""

    def predict(self, models: Models, x, time, conditions: Conditions, pictures: Sequence[Picture]) -> torch.Tensor:  # type: ignore[no-untyped-def]
        return super().predict(models, x, time / 2, conditions, pictures)


FAULTS: dict[type[Family], tuple[str, ...]] = {
    Unread: ("the prediction reads the pooled of a caption",),
    ZerosForNone: ("unconditional, as without a negative prompt",),
    LayerBeforeLast: (
        "conditions of captions, as the pipeline has them",
        "unconditional, as without a negative prompt",
    ),
    Deaf: ("the prediction reads the states of a caption",),
    SaysItReadsSizes: ("what another original size changes in the prediction",),
    Unscaled: ("latents that are trained on, decoded as drawn ones",),
    DecodedUnscaled: (
        "latents that are trained on, decoded as drawn ones",
        "picture of 3 steps of DDIM, as the pipeline's",
    ),
    OtherNoise: ("latents of 3 steps of DDIM, as the pipeline's",),
}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_family_with_a_fault_is_caught(models: Models, kind: type[Family]) -> None:
    found = failed(every(replace(models, family=kind())))
    assert set(FAULTS[kind]) <= set(found), found
    drawing = {name for name in found if name.startswith(("latents of", "picture of"))}
    # what only a training does leaves pictures alone, and what both do does not
    assert bool(drawing) == (kind not in (Unread, SaysItReadsSizes, Unscaled))


def test_a_condition_that_is_not_finite_is_caught(models: Models) -> None:
    class Broken(Unread):
        def read(self, models: Models, tokens: Conditions) -> Conditions:
            return {
                name: rows * (float("nan") if name == "pooled" else 1)
                for name, rows in super().read(models, tokens).items()
            }

    assert [check.ok for check in parity.conditions(replace(models, family=Broken()))] == [False, False]


def test_a_condition_of_another_shape_is_caught(models: Models) -> None:
    class Short(StableDiffusion1):
        def read(self, models: Models, tokens: Conditions) -> Conditions:
            return {"states": super().read(models, tokens)["states"][:, :-1]}

    (first, _) = parity.conditions(replace(models, family=Short()))
    assert not first.ok and first.found != first.expected


# -- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [DEFAULT, Unread()], ids=["one condition", "two"])
def test_conditions_come_back_from_the_cache_as_they_were(models: Models, family: Family) -> None:
    models = replace(models, family=family)
    rows = family.conditions(models, [*CAPTIONS, None])
    kept = packed(rows)
    assert kept.shape == ((3, *family.rows(models)["states"]) if family is DEFAULT else (3, 33 * 24))
    again = unpacked(torch.from_numpy(kept), models)
    assert again.keys() == rows.keys() and all(torch.equal(again[name], rows[name]) for name in rows)


# -- which family a model is of --------------------------------------------------------------------------------------


def test_a_folder_tells_its_family_and_an_unknown_one_is_refused_by_name(toy: Model, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(toy.source, folder)
    assert source.family(replace(toy, source=str(folder))) is DEFAULT
    path = folder / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(index | {"_class_name": "KandinskyPipeline"}), encoding="utf-8")
    for ask in (source.family, source.settings, source.locate):
        with pytest.raises(ConfigError, match=r"is a KandinskyPipeline, .*Stable Diffusion 1 .*give one of them"):
            ask(replace(toy, source=str(folder)))
    with pytest.raises(ConfigError, match="KandinskyPipeline"):
        source.architecture(Model(init=Init.random, architecture=str(folder)))


@pytest.mark.parametrize(
    "text", ["", "[]", "7", '{"_class_name": 5', '{"_class_name": 5}', '{"_class_name": ["a"]}', "\ud800"]
)
def test_an_index_that_names_no_class_is_refused(toy: Model, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "other"
    shutil.copytree(toy.source, folder)
    (folder / "model_index.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"model_index\.json (cannot be read|names no class).*; copy the model again"):
        source.family(replace(toy, source=str(folder)))


@pytest.mark.parametrize("text", ["{}", '{"_class_name": null}'])
def test_an_index_without_a_class_is_of_the_first_family(toy: Model, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "other"
    shutil.copytree(toy.source, folder)
    (folder / "model_index.json").write_text(text)
    assert source.family(replace(toy, source=str(folder))) is DEFAULT


def test_architectures_and_single_files_are_of_the_first_family_unless_they_say_otherwise() -> None:
    assert source.family(Model(init=Init.random, architecture="sd1")) is DEFAULT


# -- strategies ------------------------------------------------------------------------------------------------------


def test_a_strategy_that_matches_no_layer_is_refused(models: Models) -> None:
    class Nothing(Attn2ToV):
        def chooses(self, name: str) -> bool:
            return name.endswith("attn9.to_v.weight")

    with pytest.raises(ConfigError, match="matches no layer of model=toy, of the family Stable Diffusion 1"):
        Nothing().attach(models)


class LastLayerUnread(LayerBeforeLast):
    """Says, as it has to, that the last layer has no part in what the denoiser reads."""

    def reaches(self, models: Models, network: str, parameter: str) -> bool:
        return network != "text_encoder" or not re.search(r"layers\.1\.|final_layer_norm", parameter)


@pytest.mark.parametrize("strategy", [TextEncoder(), Lora(targets=[], text_targets=["q_proj", "v_proj"])], ids=kind_of)
def test_layers_that_nobody_reads_do_not_train(models: Models, strategy: Strategy) -> None:
    """Counted, attached and reached by gradients alike; a family that does not say so is caught by its gradients."""
    models = replace(models, family=LastLayerUnread())
    strategy.attach(models)
    assert failed(wiring.gradients(models, strategy)) == []
    assert strategy.trainable(models) and not [name for name in strategy.trainable(models) if "layers.1." in name]


def test_layers_that_nobody_reads_are_told_by_their_gradients(models: Models) -> None:
    models, strategy = replace(models, family=LayerBeforeLast()), TextEncoder()
    strategy.attach(models)
    (name,) = failed(wiring.gradients(models, strategy))
    assert name == "chosen tensors that a gradient reaches"


class HalfBreaksIt(StableDiffusion1):
    """Its autoencoder overflows in half precision."""

    float32 = ("vae",)


def test_a_network_that_half_precision_breaks_stays_in_float32(models: Models) -> None:
    models = replace(models, family=HalfBreaksIt()).to("cpu", torch.bfloat16)
    kinds = {name: next(network.parameters()).dtype for name, network in models.modules.items()}
    assert kinds == {"vae": torch.float32, "unet": torch.bfloat16, "text_encoder": torch.bfloat16}
    assert models.dtype is torch.bfloat16
    assert failed([*parity.conditions(models), *parity.autoencoder(models), *wiring.conditions(models)]) == []
    guidance, ddim = Guidance(), Scheduler(type="DDIMScheduler", steps=2)
    assert next(sample(models, encode(models, CAPTIONS, guidance), [1, 2], ddim, guidance)).shape == (2, 16, 16, 3)
    UNet().attach(models)
    assert models.to("cpu", torch.bfloat16).dtype is torch.bfloat16, "whatever trains"


def test_the_usual_targets_are_the_familys(models: Models) -> None:
    assert tuple(Lora().targets) == models.family.targets["unet"]


def test_cross_attention_widths_count_every_transformer_of_a_block() -> None:
    """The U-Net of Stable Diffusion XL: 70 layers, whose to_v read 2,048 and have 170,393,600 scalars [counted]."""
    config = {
        "block_out_channels": [320, 640, 1280],
        "layers_per_block": 2,
        "transformer_layers_per_block": [1, 2, 10],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    }
    widths = cross_attention_widths(config)
    assert len(widths) == 70 and 2048 * sum(widths) == 170_393_600
