"""Prior preservation: a share of every batch holds the model to what it was (DreamBooth, Ruiz et al. 2023, eq. 2).

The loss is mean(data) + weight * mean(prior). A prior's sample has a key of its own, `prior/<id>`: its noise, time and caption
follow from (seed, epoch, key) as those of any sample do. What the base model predicts and what the tuned one does are of the
same noisy latents, time and conditions, which are made once.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from t2i.data.captions import batch_order
from t2i.data.prepared import Split
from t2i.data.wording import CaptionRule
from t2i.randomness import integer
from t2i.training.before import Untrained, evaluating
from t2i.training.dataset import LatentSet
from t2i.training.objective import Batch, Denoiser

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "prior/"
"""Before the id of a prior's sample: no choice of its is that of a picture of the data."""


class ClassPictures(Split):
    """Pictures that the base model drew of the class, as a split: `000000.png` ... of a folder, with their captions."""

    def __init__(self, folder: Path, captions: Sequence[str], resolution: int) -> None:
        self.name, self._folder = "class pictures", folder
        self.ids = [f"{i:06d}" for i in range(len(captions))]
        self.captions = [[caption] for caption in captions]
        self.sizes = self.originals = np.full((len(captions), 2), resolution, np.int32)
        self.repeats = np.ones(len(captions), np.int32)

    def encoded(self, index: int) -> bytes:
        return (self._folder / f"{self.ids[index]}.png").read_bytes()

    def pixels(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        files = [io.BytesIO(self.encoded(int(index))) for index in indices]
        return np.stack([np.asarray(Image.open(file, formats=["PNG"]).convert("RGB")) for file in files])

    def corner(self, index: int) -> tuple[int, int]:
        return 0, 0


def of_pictures(drawn: LatentSet, texts: LatentSet) -> LatentSet:
    """The prior's samples of class pictures, each with the caption that it was drawn for. texts: what keeps text states."""
    return replace(_worded(drawn, drawn.captions), states=texts.states, rows=texts.rows)


def of_captions(own: LatentSet, captions: Sequence[str]) -> LatentSet:
    """The prior's samples for the base model's prediction: latents of the data's pictures, under captions without the subject."""
    return _worded(own, [list(captions)] * len(own))


def _worded(pictures: LatentSet, captions: list[list[str]]) -> LatentSet:
    plain = replace(pictures.config, captions=CaptionRule())  # a wording of the subject is none of theirs
    return replace(pictures, ids=[KEY + name for name in pictures.ids], captions=captions, config=plain)


@dataclass
class Preserved:
    """The training pictures, and behind them - by position - the prior's samples."""

    own: LatentSet
    prior: LatentSet

    def __len__(self) -> int:
        """Of the data: what an epoch is."""
        return len(self.own)

    @cached_property
    def ids(self) -> list[str]:
        """Of both."""
        return self.own.ids + self.prior.ids

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Of both."""
        return self.own.sizes + self.prior.sizes

    def batches(self, first_step: int) -> Iterator[list[tuple[int, int]]]:
        """(epoch, position) pairs of each global batch: the prior's, in an order of their own, then the data's."""
        config, count = self.own.config, self.own.config.prior_count
        seed = integer(config.seed, "prior")
        held = batch_order(seed, self.prior.sizes, count, first_step)
        own = batch_order(config.seed, self.own.sizes, config.batch_size - count, first_step)
        for before, data in zip(held, own, strict=False):
            yield [*((epoch, len(self.own) + i) for epoch, i in before), *data]

    def batch(
        self,
        samples: Sequence[tuple[int, int]],
        seed: int,
        caption_dropout: float,
        device: torch.device,
        dtype: torch.dtype,
        timesteps: Sequence[float] | None = None,
    ) -> Batch:
        """As that of a LatentSet, with the prior's samples first and what each counts."""
        first = len(self.own)
        held = [(epoch, i - first) for epoch, i in samples if i >= first]
        data = [(epoch, i) for epoch, i in samples if i < first]
        parts = [
            part.batch(own, seed, caption_dropout, device, dtype, timesteps)
            for part, own in ((self.prior, held), (self.own, data))
            if own
        ]
        return replace(_joined(parts), prior=len(held), weights=self._weights(len(held), len(data), device))

    def _weights(self, held: int, data: int, device: torch.device) -> torch.Tensor:
        """float32 (n,), so that the mean over a whole batch of weighted losses is mean(data) + weight * mean(prior)."""
        config = self.own.config
        size, count = config.batch_size, config.prior_count
        weights = [config.prior_weight * size / count] * held + [size / (size - count)] * data
        return torch.tensor(weights, dtype=torch.float32).to(device)


def _joined(parts: Sequence[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    return Batch(
        torch.cat([part.latents for part in parts]),
        torch.cat([part.noise for part in parts]),
        torch.cat([part.timesteps for part in parts]),
        {name: torch.cat([part.text[name] for part in parts]) for name in parts[0].text},
        [picture for part in parts for picture in part.pictures],
    )


class BasePrediction:
    """What the model predicted before it was tuned, as the target of the prior's samples."""

    def __init__(
        self, module: Denoiser, untrained: Untrained, autocast: "Callable[[], AbstractContextManager[None]]"
    ) -> None:
        """module: what trains, unwrapped. autocast: as around a step of training."""
        self._module, self._untrained, self._autocast = module, untrained, autocast

    def __call__(self, noisy: torch.Tensor, batch: Batch, target: torch.Tensor) -> torch.Tensor:
        """`target` (n, channels, h, w) with the base's prediction in the rows of the prior. noisy: what the tuned model gets."""
        count = batch.prior
        if not count:
            return target
        text = {name: rows[:count] for name, rows in batch.text.items()}
        pictures = batch.pictures if len(batch.pictures) == 1 else batch.pictures[:count]
        with self._untrained(), evaluating(self._module), self._autocast():
            found = self._module(noisy[:count], batch.timesteps[:count], text, pictures)
        return torch.cat([found.to(target.dtype), target[count:]])


Pictures = LatentSet | Preserved
"""What a training sees."""
