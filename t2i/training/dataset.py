"""Training pictures as latents and text states: cached under their content, or encoded anew in every step."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Optional, Protocol

import numpy as np
import torch

from t2i.data.captions import batch_order, caption_choice
from t2i.data.prepared import Split
from t2i.data.rows import Rows, key_of, keyed_rows
from t2i.models.families.family import Conditions
from t2i.models.families.picture import Picture
from t2i.models.latents import draw_latents, encode_moments
from t2i.models.parts import Models
from t2i.store import Stage, Store, digest_of
from t2i.training.config import Training
from t2i.training.memory import Portion
from t2i.training.objective import Batch, Objective, draw, objective_of

LATENTS_VERSION = 3
STATES_VERSION = 2
MOST = {"cpu": (64 * 64 * 8, 2, 8), "cuda": (512 * 512 * 8, 1, 64)}
"""By device: pixels that the VAE encodes at once, and between how many pictures that is. The last batch repeats a picture
until it is as long as the others, so that a row's bits do not depend on how many rows are made: on a CPU, where a repetition
costs as much as a picture and large batches are no faster, batches are short. One picture alone takes another path through
its convolutions."""
TEXTS = {"cpu": 8, "cuda": 64}
"""By device: captions that are encoded at once."""


class Moments(Protocol):
    """Means and log-variances of pictures by position."""

    def row_shape(self, position: int) -> tuple[int, ...]: ...

    def __getitem__(self, positions: Sequence[int]) -> np.ndarray: ...


class CachedMoments:
    """Of the store: one set of rows for each size of picture."""

    def __init__(self, sets: Sequence[tuple[Sequence[int], Rows]]) -> None:
        self._sets = [rows for _, rows in sets]
        self._place = {position: (k, i) for k, (own, _) in enumerate(sets) for i, position in enumerate(own)}

    def row_shape(self, position: int) -> tuple[int, ...]:
        """(2 * channels, h, w)."""
        return self._sets[self._place[position][0]].shape[1:]

    def __getitem__(self, positions: Sequence[int]) -> np.ndarray:
        """(n, 2 * channels, h, w), for pictures of one size."""
        places = [self._place[position] for position in positions]
        return self._sets[places[0][0]][[i for _, i in places]]


class LiveMoments:
    """Moments that the VAE computes whenever they are asked for."""

    def __init__(self, models: Models, split: Split, flipped: bool) -> None:
        self._models, self._split, self._flipped = models, split, flipped
        self._shapes: dict[tuple[int, int], tuple[int, ...]] = {}

    def row_shape(self, position: int) -> tuple[int, ...]:
        """(2 * channels, h, w)."""
        size = _size(self._split, position)
        if size not in self._shapes:
            self._shapes[size] = self[[position]].shape[1:]
        return self._shapes[size]

    def __getitem__(self, positions: Sequence[int]) -> np.ndarray:
        """(n, 2 * channels, h, w), for pictures of one size."""
        return _encode(self._models, self._split, positions, self._flipped)


@dataclass
class LatentSet:
    """Pictures of one split with their VAE moments and what turns their captions into text."""

    models: Models
    ids: list[str]
    sizes: list[tuple[int, int]]
    """Width and height in pixels; a batch holds pictures of one size."""
    pictures: list[Picture]
    """One each; empty where the family reads no sizes."""
    captions: list[list[str]]
    moments: Moments
    flipped: Optional[Moments]
    """The same of the mirrored pictures; None when training does not mirror."""
    states: Optional[Rows]
    """One row for each caption, as `packed` packs them; None when the text encoder trains or runs in every step."""
    rows: dict[str, int]
    """Caption to row of `states`; the empty one: the unconditional row."""
    text_trains: bool
    config: Training

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def objective(self) -> Objective:
        """What the pictures are trained with: first asked for when the noise schedule is settled."""
        return objective_of(self.models, self.config)

    def batches(self, first_step: int) -> Iterator[list[tuple[int, int]]]:
        """From a step on, the (epoch, position) pairs of each global batch."""
        return batch_order(self.config.seed, self.sizes, self.config.batch_size, first_step)

    def text(self, captions: Sequence[str | None], device: torch.device, dtype: torch.dtype) -> Conditions:
        """Conditions, or tokens when the text encoder trains. None: no caption."""
        family = self.models.family
        if self.text_trains:
            return {name: values.to(device) for name, values in family.tokens(self.models, captions).items()}
        if self.states is None:
            found = family.conditions(self.models, captions)
            return {name: values.to(device, dtype) for name, values in found.items()}
        kept = torch.from_numpy(self.states[[self.rows[caption or ""] for caption in captions]])
        return {name: values.to(dtype) for name, values in unpacked(_sent(kept, device), self.models).items()}

    def batch(
        self,
        samples: Sequence[tuple[int, int]],
        seed: int,
        caption_dropout: float,
        device: torch.device,
        dtype: torch.dtype,
        timesteps: Sequence[float] | None = None,
    ) -> Batch:
        """The batch of (epoch, position) pairs; with given `timesteps` (the held-out loss) the noise is plain."""
        double, height, width = self.moments.row_shape(samples[0][1])
        shape, objective = (double // 2, height, width), self.objective if timesteps is None else self.objective.plain
        draws = [draw(seed, epoch, self.ids[i], shape, objective, caption_dropout) for epoch, i in samples]
        captions = [
            None if choice.drop_caption else self._caption(seed, epoch, i) or None  # an empty one is none
            for choice, (epoch, i) in zip(draws, samples, strict=True)
        ]
        moments = self.moments[[i for _, i in samples]]
        flips = [self.flipped is not None and choice.flip for choice in draws]
        if self.flipped is not None and any(flips):
            mirrored = [k for k, flip in enumerate(flips) if flip]
            moments[mirrored] = self.flipped[[samples[k][1] for k in mirrored]]
        latent_noise = _sent(torch.from_numpy(np.stack([d.latent_noise for d in draws])), device)
        noise = _sent(torch.from_numpy(np.stack([d.noise for d in draws])), device)
        steps = _sent(objective.tensor([d.timestep for d in draws] if timesteps is None else timesteps), device)
        latents = draw_latents(self.models, _sent(torch.from_numpy(moments), device).float(), latent_noise)
        pictures = [self._picture(i, flip) for (_, i), flip in zip(samples, flips, strict=True)]
        return Batch(latents, noise, steps, self.text(captions, device, dtype), pictures)

    def _picture(self, position: int, flip: bool) -> Picture:
        if not self.pictures:
            return Picture.whole(self.sizes[position][::-1])
        return self.pictures[position].mirrored if flip else self.pictures[position]

    def _caption(self, seed: int, epoch: int, position: int) -> str:
        sample_id = self.ids[position]
        caption = caption_choice(seed, epoch, sample_id, self.captions[position])
        return self.config.captions.wording(caption, seed, epoch, sample_id)


def latent_set(
    store: Store,
    prepared: Stage,
    split: Split,
    models: Models,
    config: Training,
    text_trains: bool,
    flip: bool,
    device: torch.device,
    more: Sequence[str] = (),
) -> LatentSet:
    """The split as training reads it; caches are encoded by the main process when they are not in the store yet.

    more: captions beside those of the split whose states are kept with theirs.
    """
    rule = config.captions
    sizes = [_size(split, i) for i in range(len(split))]
    groups: dict[tuple[int, int], list[int]] = {}
    for i, size in enumerate(sizes):
        groups.setdefault(size, []).append(i)
    setting = {"dtype": str(models.dtype), "device": device.type}

    pictures = Portion(max((_at_once(size, device) for size in groups), default=1))

    def moments(flipped: bool) -> Moments:
        if not config.cache_latents:
            return LiveMoments(models, split, flipped)
        return CachedMoments([(own, rows(own, size, flipped)) for size, own in groups.items()])

    def rows(own: list[int], size: tuple[int, int], flipped: bool) -> Rows:
        shape = f" of {size[0]} x {size[1]}" if len(groups) > 1 else ""
        return keyed_rows(
            store,
            "latents",
            {"data": digest_of([prepared.digest, split.name, *size]), "model": models.digest},
            {**setting, "view": "mirrored" if flipped else "plain"},
            LATENTS_VERSION,
            lambda: [key_of(split.encoded(i)) for i in own],
            lambda indices: pictures.run(
                lambda most: _in_parts(
                    indices, most, lambda part: _encode(models, split, [own[k] for k in part], flipped)
                )
            ),
            _at_once(size, device),
            f"latents of {split.name}{shape}{', mirrored' if flipped else ''}",
        )[1]

    views = moments(False), moments(True) if flip else None
    states, places = None, dict[str, int]()
    # Tags in any order are too many texts to keep.
    if config.cache_text and not text_trains and not rule.shuffle_tags:
        captions = (text for group in split.captions for caption in group for text in rule.variants(caption))
        distinct = ["", *dict.fromkeys([*captions, *more])]
        places = {caption: i for i, caption in enumerate(distinct)}
        states = _text_states(store, distinct, models, setting, device, split.name)
    own = [picture_of(split, i) for i in range(len(split))] if models.family.reads_sizes else []
    return LatentSet(models, split.ids, sizes, own, split.captions, *views, states, places, text_trains, config)


def _text_states(
    store: Store, captions: list[str], models: Models, setting: dict[str, str], device: torch.device, name: str
) -> Rows:
    """One row a caption, as `packed` packs conditions; the empty one: no caption."""
    texts = Portion(TEXTS.get(device.type, 64))
    return keyed_rows(
        store,
        "text_states",
        {"data": digest_of(captions), "model": models.digest},
        setting,
        STATES_VERSION,
        lambda: [key_of(caption.encode()) for caption in captions],
        lambda indices: texts.run(
            lambda most: packed(models.family.conditions(models, [captions[i] or None for i in indices], most))
        ),
        texts.size,
        f"text states of {name}",
    )[1]


def packed(conditions: Conditions) -> np.ndarray:
    """Rows as they are kept, (n, ...): the one condition in its own shape, several one after the other."""
    if len(conditions) == 1:
        return _portable(*conditions.values())
    return np.concatenate([_portable(values).reshape(len(values), -1) for values in conditions.values()], axis=1)


def unpacked(rows: torch.Tensor, models: Models) -> Conditions:
    """What `packed` packed."""
    shapes = models.family.rows(models)
    if len(shapes) == 1:
        return dict.fromkeys(shapes, rows)
    parts = rows.split([math.prod(shape) for shape in shapes.values()], dim=1)
    return {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """On the device, without waiting for what it is doing: a copy from ordinary memory to a GPU would."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _size(split: Split, position: int) -> tuple[int, int]:
    width, height = split.sizes[position]
    return int(width), int(height)


def picture_of(split: Split, position: int) -> Picture:
    """The sizes of a picture, as a family reads them."""
    width, height = split.originals[position].tolist()
    left, top = split.corner(position)
    return Picture((height, width), (top, left), _size(split, position)[::-1])


def _at_once(size: tuple[int, int], device: torch.device) -> int:
    pixels, least, most = MOST.get(device.type, MOST["cuda"])
    return min(most, max(least, pixels // (size[0] * size[1])))


def _in_parts(indices: Sequence[int], most: int, encode: Callable[[Sequence[int]], np.ndarray]) -> np.ndarray:
    return np.concatenate([encode(indices[start : start + most]) for start in range(0, len(indices), most)])


def _encode(models: Models, split: Split, indices: Sequence[int], flipped: bool) -> np.ndarray:
    pixels = split.pixels(indices)
    return _portable(encode_moments(models, pixels[:, :, ::-1].copy() if flipped else pixels))


def _portable(values: torch.Tensor) -> np.ndarray:
    """On the CPU, in the smallest type of NumPy that holds the values exactly (it has no bfloat16)."""
    kept = values if values.dtype is torch.float16 else values.float()
    array: np.ndarray = kept.cpu().numpy()
    return array
