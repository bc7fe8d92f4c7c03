"""The loss of held-out pictures at eight equidistant times: `held_out_loss@8`.

The rule is that of MLPerf Training's text-to-image benchmark (github.com/mlcommons/training, text_to_image/README.md at commit
1c759d08, section 5): "validation loss averaged over 8 equidistant time steps [0, 7/8]", after Esser et al. 2024
(arXiv:2403.03206), that is times k / 8 of the whole, k = 0 ... 7, and every time with the same weight. One thing is otherwise:
there each picture is measured at one of the eight, in turn, which needs tens of thousands of pictures; here each is measured at
all of them, so that two models can be compared picture by picture.

Everything else that a loss hangs on is fixed. Latents are the mean of what the autoencoder says; the caption is the first of each
picture; noise is a function of picture and time, so that two models see the same. No dropout, no weights, no mirrored pictures.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from t2i.data.prepared import Split
from t2i.models.families.family import Conditions
from t2i.models.latents import draw_latents, encode_moments
from t2i.models.parts import Models
from t2i.progress import progress
from t2i.randomness import generator
from t2i.training.dataset import picture_of
from t2i.training.memory import Portion
from t2i.training.objective import Batch, Denoiser, Objective, losses, objective_of

TIMES = 8
TOGETHER = 16
"""Pictures that are encoded before the denoiser is asked: an offloaded network travels once for so many."""


@torch.no_grad()
def held_out_losses(models: Models, split: Split, rows: Sequence[int], seed: int) -> np.ndarray:
    """float64 (len(rows), 8): the loss of the pictures at `rows` at each time.

    The times of one picture go through the network together, and no other picture with them: so a number does not depend on what
    else is measured, by how many processes. seed: of the noise.
    """
    denoiser, objective, portion = Denoiser(models, text_trains=False).eval(), objective_of(models), Portion(TIMES)
    found = np.empty((len(rows), TIMES))
    for start in progress(range(0, len(rows), TOGETHER), "held-out losses", "batch"):
        part = rows[start : start + TOGETHER]
        with models.on_device("vae"):
            latents = [_mean_latents(models, split, row) for row in part]
        with models.on_device(*models.family.encoders):
            texts = [_text(models, _caption(split, row)) for row in part]
        with models.on_device(models.family.denoiser):
            for place, row in enumerate(part):
                noise = torch.from_numpy(_noise(split.ids[row], latents[place].shape[1:], seed)).to(models.device)
                times = objective.tensor(objective.starts(TIMES)).to(models.device)
                whole = Batch(latents[place].expand_as(noise), noise, times, texts[place], [picture_of(split, row)])
                found[start + place] = portion.run(partial(_losses, denoiser, objective, whole, models.dtype))
    return found


def definition(models: Models, split: Split, count: int, seed: int) -> dict[str, Any]:
    """What decides the losses of the first `count` pictures beside the weights of the networks that train, as JSON values."""
    pictures = hashlib.sha256()
    for row in range(count):
        pictures.update(hashlib.sha256(split.encoded(row)).digest())
        pictures.update((_caption(split, row) or "").encode() + b"\0")
    objective = objective_of(models)
    return {
        **objective.told,
        "times": objective.starts(TIMES),
        "latents": f"the autoencoder's mean, {str(models.dtype).removeprefix('torch.')} on {models.device.type}",
        "autoencoder_sha256": _digest(models),
        "captions": "the first of each picture",
        "noise": f"by picture and time, seed {seed}",
        "pictures": count,
        "pictures_sha256": pictures.hexdigest(),
    }


def _mean_latents(models: Models, split: Split, row: int) -> torch.Tensor:
    """float32 (1, channels, h, w)."""
    moments = encode_moments(models, split.pixels([row])).float()
    nothing = torch.zeros_like(moments.chunk(2, dim=1)[0])
    return draw_latents(models, moments, nothing)


def _caption(split: Split, row: int) -> str | None:
    return next(iter(split.captions[row]), None) or None


def _text(models: Models, caption: str | None) -> Conditions:
    """What the denoiser reads, once for every time."""
    found = models.family.conditions(models, [caption])
    return {
        name: values.to(models.device, models.dtype).expand(TIMES, *values.shape[1:]) for name, values in found.items()
    }


def _noise(sample_id: str, shape: Sequence[int], seed: int) -> np.ndarray:
    """float32 (8, channels, h, w), standard normal: the same for every model."""
    return np.stack(
        [generator(seed, "held-out loss", sample_id, k).standard_normal(tuple(shape), np.float32) for k in range(TIMES)]
    )


def _losses(denoiser: Denoiser, objective: Objective, whole: Batch, dtype: torch.dtype, size: int) -> np.ndarray:
    """float64 (8,), `size` times together."""
    parts = []
    for first in range(0, TIMES, size):
        own = slice(first, first + size)
        text = {name: values[own] for name, values in whole.text.items()}
        part = Batch(whole.latents[own], whole.noise[own], whole.timesteps[own], text, whole.pictures)
        parts.append(losses(denoiser, objective, part, dtype))
    each: np.ndarray = torch.cat(parts).double().cpu().numpy()
    return each


def _digest(models: Models) -> str:
    """sha256 of the autoencoder's weights: losses in two spaces of latents are two quantities."""
    digest = hashlib.sha256()
    for name, tensor in sorted(models.vae.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
