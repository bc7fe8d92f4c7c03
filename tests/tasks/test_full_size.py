"""The six experiments at full size without their weights: two optimisation steps and a picture, on whatever device is here.

Shapes, precision and memory are those of the real thing; what is drawn is noise.
"""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from t2i.models.clip_files import TINY_CLIP
from t2i.places import PROJECT

from . import formats

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
PRECISION = "fp16" if torch.cuda.is_available() else "no"
SD = ["model.init=random", "scheduler.steps=2", "eval.extractor=tiny_clip", "eval.clip=bundled"]
STEPS = [
    *(
        "training.steps=2",
        "training.epochs=null",
        "training.batch_size=2",
        "training.micro_batch=1",
        "training.log_every=1",
    ),
    *(
        "training.warmup=0",
        "training.validation_images=0",
        "training.held_out_images=1",
        "training.export_pipeline=false",
        "training.cache_latents=false",  # a cache encodes its pictures 32 at a time
    ),
]
EXPECTED = {"coco_animals": 9_584_640, "flickr30k_unet": 859_520_964, "text_encoder_flickr8k": 123_060_480}
"""Trained parameters."""
TOWERS = {
    "openai/clip-vit-base-patch32": {},
    "openai/clip-vit-large-patch14": {
        "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
        "vision_config": {
            "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14,
        },
        "projection_dim": 768,
    },
}  # fmt: skip
"""Where the published ones differ from the settings of `transformers`, which are those of ViT-B/32."""
PARAMETERS = {"openai/clip-vit-base-patch32": 151_277_313, "openai/clip-vit-large-patch14": 427_616_513}


def run(root: Path, *arguments: str) -> Path:
    """The run folder of a command in a process of its own, so that its memory is given back."""
    before = set(root.glob("20*/*"))
    places = [f"outputs={root}", "track.enabled=false", f"launch.mixed_precision={PRECISION}"]
    command = [sys.executable, str(PROJECT / "run.py"), *arguments, *places]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = set(root.glob("20*/*")) - before
    return folder


def check_picture(path: Path, side: int) -> None:
    with Image.open(path) as image:
        assert image.size == (side, side)
        assert any(low < high for low, high in image.getextrema())  # type: ignore[misc]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.mark.parametrize(
    ("name", "make", "side"),
    [
        ("coco_animals", formats.coco, 256),
        ("flickr30k_unet", formats.flickr30k, 256),
        ("text_encoder_flickr8k", formats.flickr8k, 512),
    ],
)
def test_two_steps_and_a_picture(root: Path, tmp_path: Path, name: str, make, side: int) -> None:  # type: ignore[no-untyped-def]
    data = [f"dataset.root={make(tmp_path / 'data')}", "dataset.fraction=1", "dataset.quarantine=0.1"]
    trained = run(root, f"experiment={name}", *data, *SD, *STEPS, "parts=[data,train]")
    numbers = json.loads((trained / "metrics.json").read_text())
    assert numbers["train/trainable_parameters"] == EXPECTED[name]
    assert numbers["train/steps"] == 2 and 0 < numbers["train/final_loss"] < 100
    drawn = run(root, f"experiment={name}", *data, *SD, "task=generate", f"weights={trained}", "prompts=[a lion]")
    check_picture(drawn / "images" / "000000.png", side)
    shutil.rmtree(root)  # gigabytes


def test_two_steps_and_a_picture_of_stable_diffusion_xl(root: Path) -> None:
    """2.57 G parameters in the U-Net and 0.82 G in the text encoders, 13.9 GB in float32; a LoRA of rank 4, 256 pixels."""
    own = ["model=sdxl", "model.init=random", "model.resolution=256", "strategy=lora", *SD[1:]]
    data = ["dataset=scenes", "dataset.train=4", "dataset.val=2", "dataset.resolution=256"]
    steps = [*STEPS, "training.batch_size=1", "training.gradient_checkpointing=true", "training.clip_norm=1"]
    trained = run(root, "task=train", *own, *data, *steps)
    numbers = json.loads((trained / "metrics.json").read_text())
    assert numbers["trainable_parameters"] == 5_806_080
    assert numbers["steps"] == 2 and 0 < numbers["final_loss"] < 100
    print(f"peak memory of two steps: {numbers['peak_memory_mb'] / 1024:.1f} GiB")
    drawn = run(root, "task=generate", *own, f"weights={trained}", "prompts=[a lion]", "batch_size=1")
    check_picture(drawn / "images" / "000000.png", 256)
    print(f"largest process: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20:.1f} GiB")
    shutil.rmtree(root)


@pytest.mark.parametrize(
    ("name", "make", "source"),
    [
        ("clip_cifar10", formats.cifar10, "openai/clip-vit-base-patch32"),
        ("clip_flickr8k", formats.flickr8k, "openai/clip-vit-large-patch14"),
        ("clip_flickr30k", formats.flickr30k_hub, "openai/clip-vit-large-patch14"),
    ],
)
def test_a_whole_clip_takes_two_steps_and_draws(root: Path, tmp_path: Path, name: str, make, source: str) -> None:  # type: ignore[no-untyped-def]
    tower = written(tmp_path / "clip", source)
    draws = name != "clip_cifar10"
    arguments = [
        *(f"experiment={name}", f"dataset.root={make(tmp_path / 'data')}", "dataset.limit=8", f"clip.source={tower}"),
        *("clip.batch_size=4", "clip.chunk=2", "clip.epochs=1", "clip.warmup=1", "clip.forgetting=[]", "clip.images=4"),
        *(
            f"clip.generate={2 if draws else 0}",
            "parts=[data,clip]",
            "eval.replicates=100",
            *SD,
            "model.resolution=256",
        ),
    ]
    folder = run(root, *arguments)
    assert "after 2 steps" in (folder / "clip" / "README.md").read_text()
    if draws:
        pictures = sorted((root / "store" / "generated").glob("[!.]*/000000.png"))
        assert len(pictures) == 2  # base and tuned
        for picture in pictures:
            check_picture(picture, 256)
    shutil.rmtree(root)


def written(folder: Path, source: str) -> Path:
    """A CLIP of the published shape with random weights, as transformers saves it; every token id is in its table."""
    settings = CLIPConfig(**TOWERS[source])
    tokenizer = CLIPTokenizer.from_pretrained(TINY_CLIP)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(settings.text_config, name, getattr(tokenizer, name))
    model = CLIPModel(settings)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[source]
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.model_max_length = settings.text_config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    preprocessor = json.loads((TINY_CLIP / "preprocessor_config.json").read_text())
    side = settings.vision_config.image_size
    preprocessor |= {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder
