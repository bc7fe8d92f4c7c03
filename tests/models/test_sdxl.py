"""Stable Diffusion XL: counts at full size, adapters of two text encoders in every layout, and faults of its own, each caught.

The counts are those of the published checkpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file

from t2i.config import compose
from t2i.errors import ConfigError
from t2i.models.adapters import attach, low_rank
from t2i.models.adapters.bring import bring
from t2i.models.adapters.kinds import identify
from t2i.models.adapters.write import write_peft
from t2i.models.config import Init, Model
from t2i.models.families.family import Conditions
from t2i.models.families.picture import Picture
from t2i.models.families.registry import FAMILIES
from t2i.models.families.sdxl import SECOND, ZEROS, StableDiffusionXL
from t2i.models.load import load
from t2i.models.parts import Models
from t2i.models.weightless import weightless
from t2i.models.weights import count
from t2i.plan.memory import drawing_memory, training_memory
from t2i.sampling import parity
from t2i.sampling.config import Guidance, Scheduler, shipped
from t2i.sampling.sampler import denoise, encode
from t2i.store import Store
from t2i.training import wiring
from t2i.training.attention import Attn2, Attn2KV, Attn2ToV
from t2i.training.lora import KOHYA, Lora
from t2i.training.strategies import Both, Strategy, TextEncoder, UNet

from . import toy as toys
from .test_families import every, failed

CAPTION = "a red cat"


@pytest.fixture(scope="module")
def toy_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return toys.write_sdxl(tmp_path_factory.mktemp("sdxl") / "model")


@pytest.fixture
def sdxl(toy_sdxl: Model, tmp_path: Path) -> Models:
    return load(toy_sdxl, Store(tmp_path / "store"))


# -- drawing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(name for name, one in shipped().items() if not one.flows))
def test_every_scheduler_draws_what_the_pipeline_draws(sdxl: Models, name: str) -> None:
    """All thirteen, guided: the same latents, to the bit."""
    scheduler, guidance = replace(shipped()[name], steps=4), Guidance(scale=5.0)
    rows, none = sdxl.family.conditions(sdxl, [CAPTION]), sdxl.family.unconditional(sdxl)
    ours = denoise(sdxl, rows, none, [1], scheduler, guidance)
    pipeline = sdxl.pipeline()
    pipeline.scheduler = scheduler.build(sdxl.schedule())
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        CAPTION, num_inference_steps=4, guidance_scale=5.0, height=sdxl.resolution, width=sdxl.resolution,
        generator=torch.Generator("cpu").manual_seed(1), output_type="latent",
    ).images  # fmt: skip
    assert float((ours - theirs).abs().max()) == 0.0 and float(ours.std()) > 0.1


# -- at full size ------------------------------------------------------------------------------------------------------

LAST_LAYER = 12 * 768**2 + 13 * 768 + 2 * 768
"""Of the first text encoder: 12 width^2 weights and 13 width biases and norms of its last layer, and the norm behind it; the
states that are read lie before it."""
ENCODERS = (123_060_480, 694_659_840)
COUNTS: dict[str, tuple[Strategy, int]] = {
    "attn2_to_v": (Attn2ToV(), 170_393_600),
    "attn2_kv": (Attn2KV(), 2 * 170_393_600),
    "unet": (UNet(), 2_567_463_684),
    "lora": (Lora(), 5_806_080),
    "text_encoder": (TextEncoder(), sum(ENCODERS) - LAST_LAYER),
    "the first": (TextEncoder(encoders=["text_encoder"]), ENCODERS[0] - LAST_LAYER),
    "the second": (TextEncoder(encoders=[SECOND]), ENCODERS[1]),
    "both": (Both(), 2_567_463_684 + sum(ENCODERS) - LAST_LAYER),
    # rank 4 on two of (768 + 768) in 11 layers of 12, and of (1280 + 1280) in 32
    "lora on text": (Lora(targets=[], text_targets=["q_proj", "v_proj"]), 2 * 4 * (11 * 1536 + 32 * 2560)),
    # query and output are square, key and value read 2,048; widths 640 x 10 and 1280 x 60
    "attn2": (Attn2(), sum(n * (2 * w * w + 2 * w * 2048 + w) for w, n in ((640, 10), (1280, 60)))),
}


@pytest.fixture(scope="module")
def full() -> Models:
    models = weightless(compose(["model=sdxl", "model.init=random"]).model)
    assert models is not None
    return models


def test_structure_at_full_size(full: Models) -> None:
    config = compose(["model=sdxl"]).model
    assert config.parameters == {name: count(network.parameters()) for name, network in full.modules.items()}
    assert (
        config.parameters["unet"] == 2_567_463_684
        and tuple(config.parameters[n] for n in full.family.encoders) == ENCODERS
    )
    assert full.family.rows(full) == {"states": (77, 2048), "pooled": (1280,)}
    assert full.latent_shape(1) == (1, 4, 128, 128) and len(full.family.cross_attention_widths(full)) == 70
    assert (config.resolution, config.tokens, config.width, config.cross_attention_layers) == (1024, 77, 2048, 70)


@pytest.mark.parametrize("name", COUNTS)
def test_strategies_train_as_many_as_their_formula_says(full: Models, name: str) -> None:
    strategy, expected = COUNTS[name]
    assert strategy.expected(full) == expected
    with torch.device("meta"):
        strategy.attach(full.freeze())
    assert count(strategy.trainable(full).values()) == expected
    for network in full.modules.values():
        if getattr(network, "peft_config", None):
            attach.remove(full)
            break


def test_a_plan_counts_the_autoencoder_in_float32_whatever_the_precision() -> None:
    config = compose(["model=sdxl", "model.init=random", "launch.mixed_precision=bf16", "batch_size=1"])
    models = weightless(config.model)
    assert models is not None
    every, vae = sum(count(network.parameters()) for network in models.modules.values()), 83_653_863
    drawing = drawing_memory(config, models)
    assert every == 2_567_463_684 + sum(ENCODERS) + vae and drawing.weights == 2 * (every - vae) + 4 * vae
    config.training.batch_size, config.training.gradient_checkpointing, models.resolution = 1, True, 256
    training = training_memory(config, models)
    assert training is not None
    assert training.weights == 2 * (every - vae) + 4 * vae + 4 * 5_806_080
    assert training.gradients == 4 * 5_806_080 and training.optimizer == 8 * 5_806_080


def test_stable_diffusion_2_1_at_full_size() -> None:
    config = compose(["model=sd21", "model.init=random"]).model
    models = weightless(config)
    assert models is not None and models.family is FAMILIES["sd1"]
    assert config.parameters == {name: count(network.parameters()) for name, network in models.modules.items()}
    assert config.parameters["unet"] == 865_910_724
    assert models.family.rows(models) == {"states": (77, 1024)} and models.text_encoder.config.num_hidden_layers == 23
    assert models.scheduler_config["prediction_type"] == "v_prediction" and models.latent_shape(1) == (1, 4, 96, 96)


# -- what no caption is ------------------------------------------------------------------------------------------------


def test_no_caption_is_zeros_and_an_empty_or_negative_one_is_encoded(sdxl: Models) -> None:
    none, empty, negative = (sdxl.family.unconditional(sdxl, text) for text in (None, "", "blurry"))
    assert all(not rows.any() for rows in none.values()) and all(rows.any() for rows in empty.values())
    assert not any(torch.equal(empty[name], negative[name]) for name in empty)


def test_a_model_whose_index_says_otherwise_encodes_the_empty_caption(sdxl: Models) -> None:
    sdxl.options = {ZEROS: False}
    rows = sdxl.family.unconditional(sdxl)
    assert all(values.any() for values in rows.values()) and failed(parity.conditions(sdxl)) == []
    assert sdxl.pipeline().config[ZEROS] is False


def test_the_index_of_a_folder_is_read(sdxl: Models, toy_sdxl: Model, tmp_path: Path) -> None:
    sdxl.options = {ZEROS: False}
    sdxl.pipeline().save_pretrained(tmp_path / "other", safe_serialization=True)
    again = load(replace(toy_sdxl, source=str(tmp_path / "other")), Store(tmp_path / "store"))
    assert again.options == {ZEROS: False} and again.digest != sdxl.digest


# -- adapters ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tuned(sdxl: Models) -> tuple[Lora, Models]:
    """With an adapter on all three networks, of a scale that is not 1."""
    strategy = Lora(rank=2, alpha=3.0, text_targets=["q_proj", "k_proj", "v_proj", "out_proj"])
    strategy.attach(sdxl)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in strategy.trainable(sdxl).values():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return strategy, sdxl.freeze()


def drawn(models: Models) -> np.ndarray:
    guidance = Guidance(scale=5.0)
    prompts = encode(models, [CAPTION], guidance)
    euler = Scheduler(name="euler", type="EulerDiscreteScheduler", steps=3)
    latents: np.ndarray = denoise(models, prompts.of(slice(None)), prompts.unconditional, [3], euler, guidance).numpy()
    return latents


def plain(pipeline: StableDiffusionXLPipeline) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 3, "guidance_scale": 5.0, "height": 64, "width": 64, "output_type": "latent"}
    latents: np.ndarray = pipeline(CAPTION, generator=torch.Generator("cpu").manual_seed(3), **options).images.numpy()
    return latents


@pytest.mark.filterwarnings("error:Found missing adapter keys")
@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_an_adapter_in_both_layouts_is_plain_diffusers_picture(
    toy_sdxl: Model, tuned: tuple[Lora, Models], tmp_path: Path, layout: str
) -> None:
    strategy, models = tuned
    strategy.save(models, tmp_path)
    path = tmp_path / (KOHYA if layout == "kohya" else "pytorch_lora_weights.safetensors")
    pipeline = StableDiffusionXLPipeline.from_pretrained(toy_sdxl.source)
    base = plain(pipeline)
    pipeline.load_lora_weights(path.parent, weight_name=path.name)
    theirs, ours = plain(pipeline), drawn(models)
    scale = np.abs(ours).max()
    assert np.abs(theirs - base).max() > 1e-2 * scale and np.abs(theirs - ours).max() < 1e-4 * scale


def test_an_adapter_comes_back_in_every_layout(toy_sdxl: Model, tuned: tuple[Lora, Models], tmp_path: Path) -> None:
    strategy, models = tuned
    strategy.save(models, tmp_path)
    write_peft(attach.adapter_of(models), tmp_path / "peft")
    expected = drawn(models)
    store = Store(tmp_path / "store")
    (tmp_path / "alone").mkdir()
    alone = tmp_path / "alone" / "pytorch_lora_weights.safetensors"
    alone.write_bytes((tmp_path / alone.name).read_bytes())
    for path in (alone, tmp_path / KOHYA, tmp_path / "peft"):
        fresh = load(toy_sdxl, store)
        found = identify(path)
        bring(fresh, found, "given")
        assert found.ranks == (2,) and set(low_rank.read(found, fresh).layers) == set(fresh.family.trained)
        assert np.abs(drawn(fresh) - expected).max() < 1e-4 * np.abs(expected).max(), path
    fresh = load(toy_sdxl, store)
    strategy.load(fresh, tmp_path)
    assert np.abs(drawn(fresh) - expected).max() < 1e-4 * np.abs(expected).max()


def test_kohya_names_are_those_of_sd_scripts(tuned: tuple[Lora, Models], tmp_path: Path) -> None:
    """It builds the U-Net as its makers number it: the toy's first attention stands in the second level, input_blocks.3.1."""
    strategy, models = tuned
    strategy.save(models, tmp_path)
    names = {name.partition(".")[0] for name in load_file(tmp_path / KOHYA)}
    assert "lora_unet_input_blocks_3_1_transformer_blocks_0_attn2_to_v" in names
    assert "lora_unet_middle_block_1_transformer_blocks_1_attn1_to_out_0" in names
    assert "lora_te1_text_model_encoder_layers_0_self_attn_q_proj" in names
    assert "lora_te2_text_model_encoder_layers_2_self_attn_v_proj" in names
    assert not any("te1_text_model_encoder_layers_2" in name for name in names), "behind the states that are read"


# -- faults ------------------------------------------------------------------------------------------------------------


class LastStates(StableDiffusionXL):
    """Reads the last layer, as Stable Diffusion 1 does."""

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        last = [
            models.modules[name](tokens[ids])[0 if name != SECOND else 1]
            for name, ids in zip(self.encoders, ("ids", "ids_2"), strict=True)
        ]
        return super().read(models, tokens) | {"states": torch.cat(last, dim=-1)}


class Unpooled(StableDiffusionXL):
    """Drops the pooled vector on its way."""

    def predict(self, models, x, time, conditions: Conditions, pictures: Sequence[Picture]) -> torch.Tensor:  # type: ignore[no-untyped-def]
        none = torch.zeros_like(conditions["pooled"])
        return super().predict(models, x, time, conditions | {"pooled": none}, pictures)


class Sizeless(StableDiffusionXL):
    """Says always the same sizes."""

    def predict(self, models, x, time, conditions: Conditions, pictures: Sequence[Picture]) -> torch.Tensor:  # type: ignore[no-untyped-def]
        return super().predict(models, x, time, conditions, [Picture.whole((64, 64))])


class Turned(StableDiffusionXL):
    """Width before height."""

    def predict(self, models, x, time, conditions: Conditions, pictures: Sequence[Picture]) -> torch.Tensor:  # type: ignore[no-untyped-def]
        turned = [Picture(one.original[::-1], one.crop[::-1], one.size[::-1]) for one in pictures]
        return super().predict(models, x, time, conditions, turned)


class EmptyForNone(StableDiffusionXL):
    """Encodes the empty caption where the pipeline has zeros: a well-known training script did."""

    def tokens(self, models: Models, captions: Sequence[str | None]) -> Conditions:
        return super().tokens(models, [caption or "" for caption in captions])


class PooledOfTheStates(StableDiffusionXL):
    """A pooled vector that is none."""

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        rows = super().read(models, tokens)
        return rows | {"pooled": rows["states"][:, -1, -24:]}


CONDITIONS, NONE = "conditions of captions, as the pipeline has them", "unconditional, as without a negative prompt"
LATENTS = "latents of 3 steps of EulerDiscrete, as the pipeline's"
FAULTS: dict[type[StableDiffusionXL], set[str]] = {
    LastStates: {CONDITIONS, LATENTS},
    Unpooled: {"the prediction reads the pooled of a caption", LATENTS},
    Sizeless: {"what another original size changes in the prediction", LATENTS},
    Turned: {LATENTS},
    EmptyForNone: {NONE, LATENTS},
    PooledOfTheStates: {CONDITIONS, LATENTS},
}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_fault_is_caught(sdxl: Models, kind: Callable[[], StableDiffusionXL]) -> None:
    assert failed(every(sdxl)) == []
    found = failed(every(replace(sdxl, family=kind())))
    assert FAULTS[kind] <= set(found), found  # type: ignore[index]


def test_a_last_layer_that_is_said_to_train_is_caught(sdxl: Models) -> None:
    class AllReach(StableDiffusionXL):
        def reaches(self, models: Models, network: str, parameter: str) -> bool:
            return True

    models, strategy = replace(sdxl, family=AllReach()), TextEncoder()
    strategy.attach(models)
    assert failed(wiring.gradients(models, strategy)) == ["chosen tensors that a gradient reaches"]


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_text_encoder_that_there_is_not_is_refused_by_name(sdxl: Models) -> None:
    with pytest.raises(
        ConfigError, match=r"names text_encoder_3, and Stable Diffusion XL reads text_encoder, text_encoder_2"
    ):
        TextEncoder(encoders=["text_encoder_3"]).attach(sdxl)


def test_half_precision_keeps_the_autoencoder_in_float32(sdxl: Models) -> None:
    sdxl.to("cpu", torch.bfloat16)
    kinds = {name: next(network.parameters()).dtype for name, network in sdxl.modules.items()}
    assert kinds.pop("vae") is torch.float32 and set(kinds.values()) == {torch.bfloat16}
    assert failed(every(sdxl)) == []


def test_the_toy_of_the_command_line_is_the_toy_of_the_tests(toy_sdxl: Model, tmp_path: Path) -> None:
    config = compose(["model=tiny_sdxl"]).model
    assert config.init is Init.random and replace(toy_sdxl, source=config.source, init=config.init) == config
