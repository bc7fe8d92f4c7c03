"""How large a model is, as far as its configuration and its files tell: nothing is imported for it."""

from pathlib import Path

from t2i.models import files
from t2i.models.config import Model

SMALL = 50_000_000
"""Scalars of a denoiser below which a CPU takes longer to begin an operation than to compute it. Two processes of one thread
take 0.76 of the time that one of two threads takes for nine cells of the bundled model, and bf16 makes its steps 1.5 times as
long; with Stable Diffusion 1.5's 860 million bf16 takes 0.47 of the time (`bench/README.md`)."""


def scalars(model: Model) -> int:
    """About how many the denoiser has: as the model's YAML says, or by the size of its files; 0 where neither is there."""
    known = [count for name, count in model.parameters.items() if name in ("unet", "transformer")]
    if known:
        return known[0]
    folders = [Path(model.source) / name for name in ("unet", "transformer")]
    weights = [path for folder in folders if folder.is_dir() for path in files.weight_files(folder)]
    return sum(path.stat().st_size for path in weights) // 2
