"""A pipeline of Stable Diffusion 1.x's classes that is small enough to train inside a test, and fixtures around it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from t2i.config import compose
from t2i.context import Run
from t2i.models.config import Init, Model
from t2i.models.load import Models, load
from t2i.models.source import BUNDLED
from t2i.store import Store

UNET = {
    "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "norm_num_groups": 4,
    "block_out_channels": [8, 16], "cross_attention_dim": 24, "attention_head_dim": 2,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}  # fmt: skip
"""Cross-attention layers: one on the way down (width 8), one in the middle (16), two on the way up (8, 8)."""
CROSS_ATTENTION_WIDTHS = [8, 16, 8, 8]
VAE = {
    "sample_size": 16, "in_channels": 3, "out_channels": 3, "latent_channels": 4, "norm_num_groups": 4,
    "block_out_channels": [8, 8], "scaling_factor": 0.5,
    "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2,
}  # fmt: skip
SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
}  # fmt: skip
RESOLUTION = 16
WIDTH = 24


def write(folder: Path, width: int = WIDTH, unet: dict[str, object] = {}, **schedule: object) -> Model:  # noqa: B006
    """A pipeline folder with random weights: latents (4, 8, 8) for pictures of 16 x 16, text states of `width`. unet, schedule:
    settings that are otherwise.
    """
    tokenizer = CLIPTokenizer.from_pretrained(BUNDLED / "tokenizer")
    tokens = tokenizer.model_max_length
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=tokens, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        StableDiffusionPipeline(
            vae=AutoencoderKL(**VAE),
            text_encoder=CLIPTextModel(text),
            tokenizer=tokenizer,
            unet=UNet2DConditionModel(**UNET | {"cross_attention_dim": width, **unet}),
            scheduler=PNDMScheduler(**SCHEDULE | schedule),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder, safe_serialization=True)
    return Model(
        name="toy", source=str(folder), resolution=RESOLUTION, tokens=tokens, width=width,
        cross_attention_layers=len(CROSS_ATTENTION_WIDTHS),
    )  # fmt: skip


def write_sd2(folder: Path) -> Model:
    """Where Stable Diffusion 2.1 differs: velocity is predicted, heads differ by block, projections are linear."""
    return write(
        folder,
        unet={"use_linear_projection": True, "attention_head_dim": [2, 4], "upcast_attention": True},
        prediction_type="v_prediction",
    )


def write_sdxl(folder: Path) -> Model:
    """The networks of model=tiny_sdxl as a folder."""
    config = compose(["model=tiny_sdxl"]).model
    load(config, Store(folder.parent / "store")).pipeline().save_pretrained(folder, safe_serialization=True)
    return replace(config, source=str(folder), init=Init.pretrained)


def states(models: Models, captions: Sequence[str | None], batch_size: int = 64) -> torch.Tensor:
    """Text states (N, tokens, width): the one condition of Stable Diffusion 1."""
    return models.family.conditions(models, captions, batch_size)["states"]


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The configuration of the toy model, which lies in a folder of its own."""
    return write(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="session")
def wider_toy(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """As `toy` with text states of another width: its weights fit no other toy."""
    return write(tmp_path_factory.mktemp("models") / "wider_toy", width=32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def loaded(store: Store) -> Callable[[Model], Models]:
    """Loads a model afresh, as every task does."""
    return lambda config: load(config, store)


@pytest.fixture
def models(toy: Model, loaded: Callable[[Model], Models]) -> Models:
    """The toy model, frozen."""
    return loaded(toy)


@pytest.fixture
def run(tmp_path: Path, store: Store) -> Iterator[Run]:
    """What a task receives; the devices' global state is its own, since every test may want another precision."""
    AcceleratorState._reset_state(reset_partial_state=True)
    folder = tmp_path / "run"
    folder.mkdir()
    yield Run(folder, store)
    AcceleratorState._reset_state(reset_partial_state=True)
