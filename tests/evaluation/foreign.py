"""Two folders of PNGs as another tool leaves them, and an Inception that everybody can build: all from numbers alone."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from t2i.evaluation.extractors.inception_network import InceptionV3


def folders(root: Path, count: int = 40) -> tuple[Path, Path]:
    """`count` drawn pictures of 48 x 40 pixels and as many real ones of 64 x 64: smooth colours, and the same with stripes."""
    rng = np.random.default_rng(0)
    for name, (height, width) in (("drawn", (40, 48)), ("real", (64, 64))):
        (root / name).mkdir(parents=True, exist_ok=True)
        y, x = np.mgrid[0:height, 0:width] / 64.0
        for number in range(count):
            waves = rng.uniform(2.0, 9.0, (3, 2))
            phases = rng.uniform(0.0, 6.0, 3)
            picture = np.stack([np.sin(a * x + b * y + c) for (a, b), c in zip(waves, phases, strict=True)], axis=-1)
            if name == "drawn":
                picture += 0.4 * np.sign(np.sin(40.0 * x))[..., None]
            values = np.clip(np.rint(127.5 + 100.0 * picture), 0, 255).astype(np.uint8)
            Image.fromarray(values).save(root / name / f"{number:03d}.png")
    return root / "drawn", root / "real"


def random_inception() -> dict[str, torch.Tensor]:
    """A state of the FID variant of Inception-v3 whose features vary: weights of He's size, and statistics of a unit input."""
    rng, state = np.random.default_rng(1), InceptionV3().state_dict()
    found = {}
    for name, own in state.items():
        if own.ndim > 1:
            fan = float(np.prod(own.shape[1:]))
            values = rng.standard_normal(tuple(own.shape), dtype=np.float32) * np.float32((2.0 / fan) ** 0.5)
            found[name] = torch.from_numpy(values)
        else:
            found[name] = torch.ones_like(own) if name.endswith(("running_var", "bn.weight")) else torch.zeros_like(own)
    return found
