"""A pipeline that other programs read, and whether it is what was tuned: one picture of ours beside one of plain diffusers,
same prompt and seed.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.config import Config
from t2i.context import Run
from t2i.stages.networks import dtype_of

if TYPE_CHECKING:
    import numpy as np

    from t2i.models.families.family import Family
    from t2i.models.parts import Models

PROMPT, SEED, STEPS = "a picture", 0, 4


def export_pipeline(config: Config, run: Run, models: "Models", weights: Path, target: Path) -> float:
    """Write the whole pipeline from reloaded weights to `target` and return the largest difference, in grey levels of 255,
    between a picture of the trained networks in memory and of plain diffusers with the exported folder, same prompt, seed
    and noise schedule.
    """
    from t2i.models.adapters.attach import fuse
    from t2i.models.load import load

    fresh = load(config.model, run.store)
    fresh.scheduler_config = models.scheduler_config
    config.strategy.load(fresh, weights)
    config.strategy.plain(fresh)
    fuse(fresh)
    shutil.rmtree(target, ignore_errors=True)
    save_pipeline(fresh, target)
    models.denoiser.eval()
    with run.accelerator.autocast():
        ours = drawn(models)
    plain = opened(target, fresh.family, dtype_of(config))
    theirs = by_diffusers(plain.to(run.accelerator.device), config.model.resolution, tuple(models.words))
    return difference(ours, theirs)


def opened(folder: Path, family: "Family", dtype: Any) -> Any:
    """A pipeline's folder by plain diffusers."""
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(folder, dtype=dtype, safety_checker=None, **dict.fromkeys(family.absent))


def save_pipeline(models: "Models", folder: Path) -> None:
    """A pipeline's folder that every reader knows."""
    from t2i.models.layout import settle

    models.pipeline().save_pretrained(folder, safe_serialization=True)
    settle(folder)


def drawn(models: "Models") -> "np.ndarray":
    """A picture of few steps, uint8 (H, W, 3)."""
    from t2i.sampling.config import Guidance, Scheduler
    from t2i.sampling.sampler import encode, sample

    # The one that is exported: the schedule that was trained decides which that is.
    scheduler = Scheduler(name="exported", type=type(models.scheduler()).__name__, steps=STEPS)
    caption = " ".join([PROMPT, *models.words])
    return next(sample(models, encode(models, [caption], Guidance()), [SEED], scheduler, Guidance()))[0]


def by_diffusers(pipeline: Any, resolution: int, words: tuple[str, ...] = ()) -> "np.ndarray":
    """The same of a plain pipeline."""
    import numpy as np
    import torch

    from t2i.sampling.config import Guidance

    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(
        prompt=" ".join([PROMPT, *words]),
        num_inference_steps=STEPS,
        guidance_scale=Guidance().scale,
        height=resolution,
        width=resolution,
        generator=torch.Generator("cpu").manual_seed(SEED),
        output_type="np",
    ).images[0]
    pixels: np.ndarray = (image * 255).round().astype(np.uint8)
    return pixels


def difference(ours: "np.ndarray", theirs: "np.ndarray") -> float:
    """The largest, in grey levels of 255."""
    import numpy as np

    return float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max())
