"""The bundled model of flow matching: loads strictly with plain libraries, and draws what is asked more often than chance."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline
from PIL import Image
from transformers import CLIPTextModelWithProjection

from t2i.config import compose
from t2i.models.load import load
from t2i.sampling.config import Guidance
from t2i.sampling.sampler import encode, sample
from t2i.store import Store

from .test_tiny import ASSETS, COLOURED, classes

FLOW = ASSETS / "tiny_flow"
ABSENT = {"text_encoder_3": None, "tokenizer_3": None}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (AutoencoderKL, "vae"),
        (SD3Transformer2DModel, "transformer"),
        (CLIPTextModelWithProjection, "text_encoder"),
        (CLIPTextModelWithProjection, "text_encoder_2"),
    ],
)
def test_weights_fill_the_network_exactly(kind: type, name: str) -> None:
    _, info = kind.from_pretrained(FLOW / name, output_loading_info=True)  # type: ignore[attr-defined]
    assert not any(info[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_it_draws_its_classes_as_the_plain_pipeline_does(tmp_path: Path) -> None:
    """Of twelve, with chance at one in thirty; and one of them by diffusers alone, 256 rows of zeros and all."""
    config = compose(["model=tiny_flow"])
    models = load(config.model, Store(tmp_path))
    prompts = [f"a picture of a {name}, the {name} is {colour}" for name, colour in COLOURED.items()]
    guidance, seeds = Guidance(scale=5.0), range(len(prompts))
    pictures = np.concatenate(
        list(sample(models, encode(models, prompts, guidance), seeds, config.scheduler, guidance, 12))
    )
    found = classes([Image.fromarray(picture) for picture in pictures])
    # A blind guesser gets one in thirty: four of twelve has a probability below one in a thousand.
    assert sum(one == name for one, name in zip(found, COLOURED, strict=True)) >= 4, found
    pipeline = StableDiffusion3Pipeline.from_pretrained(FLOW, torch_dtype=torch.float32, **ABSENT)
    pipeline.set_progress_bar_config(disable=True)
    plain = pipeline(
        prompts[0], num_inference_steps=config.scheduler.steps, guidance_scale=5.0, height=64, width=64, output_type="np",
        generator=torch.Generator("cpu").manual_seed(0),
    ).images[0]  # fmt: skip
    assert np.abs((plain * 255).round() - pictures[0].astype(float)).max() <= 1
