"""Training pictures as cached latents and text states, addressed by content."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import torch
from tqdm import tqdm

from t2i.data.captions import caption_choice
from t2i.data.prepared import Split
from t2i.models.latents import draw_latents, encode_moments
from t2i.models.load import Models
from t2i.models.text import text_states, tokenize
from t2i.store import Stage, Store
from t2i.training.objective import draw

LATENTS_VERSION = 1
STATES_VERSION = 1


@dataclass
class Batch:
    """One micro-batch on the device: latents and noise (n, channels, h, w), timesteps (n,), text states or token ids."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    text: torch.Tensor


@dataclass
class LatentSet:
    """Pictures of one split with their VAE moments and - when the text encoder is frozen - their text states."""

    models: Models
    ids: list[str]
    captions: list[list[str]]
    moments: np.ndarray
    """float32 (N, 2 * channels, h, w), memory-mapped."""
    states: Optional[np.ndarray]
    """(captions, tokens, width), memory-mapped; None when the text encoder trains."""
    rows: dict[str, int]
    """Caption to row of `states`."""

    def __len__(self) -> int:
        return len(self.ids)

    def text(self, captions: Sequence[str], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Text states, or token ids when the text encoder trains."""
        if self.states is None:
            return tokenize(self.models, captions).to(device)
        return torch.from_numpy(self.states[[self.rows[caption] for caption in captions]]).to(device, dtype)

    def batch(
        self,
        samples: Sequence[tuple[int, int]],
        seed: int,
        caption_dropout: float,
        device: torch.device,
        dtype: torch.dtype,
        timesteps: Sequence[int] | None = None,
    ) -> Batch:
        """The batch of (epoch, position) pairs; `timesteps` overrides the drawn ones (held-out loss)."""
        channels, height, width = self.moments.shape[1] // 2, *self.moments.shape[2:]
        count = self.models.scheduler_config["num_train_timesteps"]
        draws = [
            draw(seed, epoch, self.ids[i], (channels, height, width), count, caption_dropout) for epoch, i in samples
        ]
        captions = [
            "" if choice.drop_caption else caption_choice(seed, epoch, self.ids[i], self.captions[i])
            for choice, (epoch, i) in zip(draws, samples, strict=True)
        ]
        moments = torch.from_numpy(self.moments[[i for _, i in samples]]).to(device)
        latent_noise = torch.from_numpy(np.stack([d.latent_noise for d in draws])).to(device)
        noise = torch.from_numpy(np.stack([d.noise for d in draws])).to(device)
        steps = torch.tensor([d.timestep for d in draws] if timesteps is None else list(timesteps), device=device)
        return Batch(draw_latents(self.models, moments, latent_noise), noise, steps, self.text(captions, device, dtype))


def latent_set(
    store: Store, prepared: Stage, split: Split, split_name: str, models: Models, cache_text: bool, device: torch.device
) -> LatentSet:
    """The split with its caches, encoded by the main process when they are not in the store yet."""

    def encode_images(folder: Path) -> None:
        first = encode_moments(models, split.pixels([0])).shape
        rows = np.lib.format.open_memmap(folder / "moments.npy", "w+", np.float32, (len(split), *first[1:]))
        size = max(1, 64 * 64 * 64 * 16 // split.pixels([0])[0].size)
        for start in tqdm(range(0, len(split), size), desc=f"latents {split_name}", leave=False):
            chosen = range(start, min(start + size, len(split)))
            rows[start : start + len(chosen)] = encode_moments(models, split.pixels(chosen)).cpu().numpy()
        rows.flush()

    precision = str(next(models.vae.parameters()).dtype)
    inputs = {"data": prepared.digest, "model": models.digest}
    slice_ = {"split": split_name, "dtype": precision, "device": device.type}
    latents = store.stage("latents", inputs, slice_, LATENTS_VERSION, encode_images)
    moments = np.load(latents.path / "moments.npy", mmap_mode="r")

    states, rows = None, {}
    if cache_text:
        distinct = ["", *dict.fromkeys(caption for captions in split.captions for caption in captions)]
        rows = {caption: i for i, caption in enumerate(distinct)}

        def encode_text(folder: Path) -> None:
            first = text_states(models, distinct[:1])
            kind = np.float16 if first.dtype is torch.float16 else np.float32
            table = np.lib.format.open_memmap(folder / "states.npy", "w+", kind, (len(distinct), *first.shape[1:]))
            for start in tqdm(range(0, len(distinct), 256), desc=f"text states {split_name}", leave=False):
                part = text_states(models, distinct[start : start + 256])
                table[start : start + len(part)] = part.float().cpu().numpy()
            table.flush()

        text = store.stage("text_states", inputs, slice_, STATES_VERSION, encode_text)
        states = np.load(text.path / "states.npy", mmap_mode="r")
    return LatentSet(models, split.ids, split.captions, moments, states, rows)
