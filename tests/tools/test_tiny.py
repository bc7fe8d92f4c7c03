"""The bundled tiny model: loads strictly with plain libraries, is small, and draws what is asked."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer

import t2i
from t2i.data.sources.scenes import CATEGORIES

ASSETS = Path(t2i.__file__).parent / "assets"
TINY, CLIP = ASSETS / "tiny", ASSETS / "tiny_clip"
COLOURED = {
    "cat": "orange",
    "bus": "red",
    "apple": "green",
    "teddy bear": "brown",
    "elephant": "gray",
    "airplane": "white",
    "cake": "purple",
    "book": "blue",
    "giraffe": "yellow",
    "sports ball": "red",
    "surfboard": "orange",
    "clock": "purple",
}


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    loaded = StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32)
    loaded.scheduler = DDIMScheduler.from_config(loaded.scheduler.config)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.mark.parametrize(
    ("kind", "folder"),
    [
        (AutoencoderKL, TINY / "vae"),
        (UNet2DConditionModel, TINY / "unet"),
        (CLIPTextModel, TINY / "text_encoder"),
        (CLIPModel, CLIP),
    ],
)
def test_weights_fill_the_network_exactly(kind: type, folder: Path) -> None:
    _, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(info[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_everything_is_small_safetensors() -> None:
    files = [path for path in ASSETS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 56e6
    words = {".json", ".jsonl", ".txt", ".md"}
    assert {path.suffix for path in files if path.name != "LICENSE"} <= {".safetensors", *words}


def test_weights_are_half_precision_and_finite() -> None:
    for path in ASSETS.rglob("*.safetensors"):
        weights = load_file(path)
        assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}, path
        assert all(bool(value.isfinite().all()) for value in weights.values()), path


def test_schedulers_made_from_its_configuration_do_not_clip_latents(pipeline: StableDiffusionPipeline) -> None:
    # DDIM and DDPM clip the denoised latents to [-1, 1] unless told otherwise; these have a deviation of 1.
    assert pipeline.scheduler.config.clip_sample is False
    assert pipeline.scheduler.config.prediction_type == "v_prediction"


def test_unet_has_the_cross_attention_layers_of_sd1(pipeline: StableDiffusionPipeline) -> None:
    names = [name for name, _ in pipeline.unet.named_modules() if name.endswith("attn2")]
    assert len(names) == 16
    assert pipeline.unet.config.cross_attention_dim == pipeline.text_encoder.config.hidden_size == 128
    assert pipeline.safety_checker is None and pipeline.feature_extractor is None


def test_tokenizer_pads_and_truncates_as_the_pipeline_asks(pipeline: StableDiffusionPipeline) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(TINY / "tokenizer")
    assert tokenizer.model_max_length == 32 == pipeline.text_encoder.config.max_position_embeddings
    both = tokenizer(
        ["A purple Cake!", "gorgeous " * 50], padding="max_length", max_length=32, truncation=True, return_tensors="pt"
    ).input_ids
    assert both.shape == (2, 32)
    assert both[:, 0].tolist() == [tokenizer.bos_token_id] * 2
    assert both[:, -1].tolist() == [tokenizer.eos_token_id] * 2
    assert int(both.max()) < pipeline.text_encoder.config.vocab_size
    assert tokenizer.tokenize("A purple Cake!") == ["a</w>", "purple</w>", "cake</w>", "!</w>"]
    assert pipeline.text_encoder.config.eos_token_id == tokenizer.eos_token_id


def test_evaluator_is_not_the_text_encoder(pipeline: StableDiffusionPipeline) -> None:
    conditioning, judging = pipeline.text_encoder.state_dict(), CLIPModel.from_pretrained(CLIP).text_model.state_dict()
    weights = [name for name in conditioning.keys() & judging.keys() if conditioning[name].ndim == 2]
    assert len(weights) > 10
    assert all(
        float(F.cosine_similarity(conditioning[name].flatten(), judging[name].float().flatten(), dim=0)) < 0.5
        for name in weights
    )


def test_pictures_show_what_was_asked(pipeline: StableDiffusionPipeline) -> None:
    prompts = [f"a picture of a {name}, the {name} is {colour}" for name, colour in COLOURED.items()]
    seeds = [torch.Generator().manual_seed(number) for number in range(len(prompts))]
    pictures = pipeline(prompts, num_inference_steps=10, guidance_scale=7.5, generator=seeds, output_type="pil").images
    assert {picture.size for picture in pictures} == {(64, 64)}
    read = classes(pictures)
    # A blind guesser gets one in thirty: six of twelve right has a probability below one in a million.
    assert sum(found == asked for found, asked in zip(read, COLOURED, strict=True)) >= 6, read


def classes(pictures: list[Image.Image]) -> list[str]:
    clip = CLIPModel.from_pretrained(CLIP, dtype=torch.float32).eval()
    tokenizer, processor = CLIPTokenizer.from_pretrained(CLIP), CLIPImageProcessor.from_pretrained(CLIP)
    lines = [f"a picture of a {name}" for name in CATEGORIES]
    with torch.no_grad():
        ids = tokenizer(lines, padding="max_length", max_length=32, truncation=True, return_tensors="pt").input_ids
        text = F.normalize(clip.text_projection(clip.text_model(ids).pooler_output), dim=-1)
        pixels = processor(pictures, return_tensors="pt").pixel_values
        assert tuple(pixels.shape[1:]) == (3, 64, 64)
        image = F.normalize(clip.visual_projection(clip.vision_model(pixels).pooler_output), dim=-1)
    return [CATEGORIES[number] for number in np.argmax((image @ text.T).numpy(), axis=1)]
