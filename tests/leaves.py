"""Every key of the schema with another value than it has: what tests over all of them are generated from."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from t2i.config import Config

OTHER: dict[str, Any] = {
    "batch_size": 3,
    "bundle": "run.bundle",
    "cfg.interval": [100.0, 900.0],
    "cfg.negative_prompt": "blurry, low quality",
    "charts.guidance": [3.0, 5.0],
    "charts.prompts": ["a cat", "a bus"],
    "charts.schedulers": ["ddim", "euler"],
    "charts.steps": [2, 3],
    "clip.forgetting": ["dataset=scenes", "dataset.train=24", "dataset.val=12", "dataset.seed=3"],
    "clip.head_learning_rate": 1e-3,
    "clip.images": 5,
    "clip.layer_decay": 0.9,
    "clip.rank": 2,
    "clip.resume": "never",
    "clip.chunk": 2,
    "clip.source": "random",
    "dataset.background": "white",
    "dataset.character": "pip",
    "dataset.columns.caption": "said",
    "dataset.domains": ["animal"],
    "dataset.fraction": 0.5,
    "dataset.held_out": 9,
    "dataset.keywords": {"animal": ["cat"]},
    "dataset.limit": 20,
    "dataset.near_bits": 3,
    "dataset.near_duplicates": "drop",
    "dataset.regularisation": ["a dog"],
    "dataset.resolution": 72,
    "dataset.size": 96,
    "elsewhere": "scenes",
    "eval.extractor": "clip",
    "eval.judge": "vlm",
    "eval.class_prompts": ["a photo of a {}"],
    "eval.metrics": ["clip_score", "kid"],
    "eval.resize": "clean",
    "eval.resolution": 32,
    "sampling.channels_last": False,
    "training.warmup": 1,
    "fused": True,
    "launch.mixed_precision": "bf16",
    "model.architecture": "sd1",
    "model.init": "random",
    "model.parameters": {"unet": 1},
    "model.resolution": 72,
    "model.revision": "main",
    "model.without": ["text_encoder_3"],
    "parts": ["data"],
    "pictures": ["drawn"],
    "prompts": ["a cat"],
    "prompts_file": "prompts.txt",
    "recipe": "000000.png",
    "strength": 0.5,
    "run": "run",
    "runs": ["run"],
    "scheduler.name": "other",
    "strategy.encoders": ["text_encoder"],
    "scheduler.options": {"algorithm_type": "dpmsolver++", "solver_order": 1},
    "scheduler.spacing": "trailing",
    "scheduler.type": "DDIMScheduler",
    "strategy.alpha": 8.0,
    "strategy.targets": ["to_q"],
    "strategy.text_encoder_learning_rate": 1e-5,
    "strategy.text_targets": ["q_proj"],
    "then": "serve",
    "training.batch_size": 8,
    "training.captions.templates": ["a photo of {}"],
    "training.caption_dropout": 0.2,
    "training.ema": 0.99,
    "training.epochs": 2.0,
    "training.images": 10,
    "training.micro_batch": 2,
    "training.milestones": [2],
    "training.min_snr_gamma": 5.0,
    "training.noise_offset": 0.05,
    "training.prior": "base",
    "training.resume": "never",
    "training.timestep_range": [100, 900],
    "training.validation_prompts": ["a cat"],
    "wildcards": "words",
}
"""Where another value does not follow from the type."""


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value; lists and mappings are values."""
    for field in fields(value):
        own = getattr(value, field.name)
        if is_dataclass(own):
            yield from leaves(own, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, own


def other(key: str, value: Any) -> Any:
    """Another value than this one, as it is written in YAML."""
    if key in OTHER:
        return OTHER[key]
    if isinstance(value, bool):
        return not value
    if isinstance(value, Enum):
        return next(member.value for member in type(value) if member is not value)
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.25
    if isinstance(value, list):
        return [*value, "more"]
    if value is None or isinstance(value, str):
        return f"other_{key.replace('.', '_')}"
    raise AssertionError(f"{key}={value!r} needs another value in tests/leaves.py")


def changed(config: Config, key: str, value: Any) -> Config:
    """The configuration with another value of one key."""
    from t2i.config import composed

    return composed(config, {f"+{key}" if isinstance(value, dict) else key: value}, [])
