"""Pictures and captions as contrastive tuning reads them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from t2i.data.captions import caption_choice, order
from t2i.data.prepared import Split
from t2i.data.rows import Rows, key_of, keyed_rows
from t2i.errors import ConfigError
from t2i.models.preprocess import PILLOW_BICUBIC, pillow_bicubic
from t2i.store import Stage, Store, digest_of

PIXELS_VERSION = 1


@dataclass(frozen=True)
class Pairs:
    """The pictures of one split at the size of a CLIP. `ids` and `captions` have one entry a picture."""

    ids: list[str]
    captions: list[list[str]]
    pixels: Rows
    """uint8 (N, size, size, 3)."""

    def __len__(self) -> int:
        return len(self.ids)

    def caption(self, seed: int, epoch: int, position: int) -> str:
        """The caption that an epoch shows of a picture."""
        return caption_choice(seed, epoch, self.ids[position], self.captions[position])


def pairs_of(store: Store, prepared: Stage, split: Split, size: int, side: int) -> Pairs:
    """The split with its pictures resized once and kept; side: of the prepared pictures, in pixels."""
    _, pixels = keyed_rows(
        store,
        "clip_pixels",
        {"data": digest_of([prepared.digest, split.name])},
        {"policy": PILLOW_BICUBIC, "size": size, "side": side},
        PIXELS_VERSION,
        lambda: [key_of(split.encoded(i)) for i in range(len(split))],
        lambda indices: pillow_bicubic(split.squares(indices, side), size),
        64,
        f"pictures of {split.name} for a CLIP",
    )
    return Pairs(split.ids, split.captions, pixels)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Whole batches of an epoch; what is left over is another part in each epoch. ConfigError when there is none."""
    if count < batch_size:
        raise ConfigError(
            f"clip.batch_size={batch_size} is more than the {count} training pictures; use clip.batch_size={count}"
        )
    return count // batch_size


def batches(seed: int, count: int, batch_size: int, first_step: int) -> Iterator[tuple[int, list[int]]]:
    """From `first_step` on, epoch and positions of each global batch: no picture comes twice in an epoch."""
    per_epoch = steps_per_epoch(count, batch_size)
    epoch, step = divmod(first_step, per_epoch)
    while True:
        positions = order(seed, epoch, count)
        for number in range(step, per_epoch):
            yield epoch, positions[number * batch_size : (number + 1) * batch_size].tolist()
        epoch, step = epoch + 1, 0


def shares(batch: Sequence[int], processes: int) -> list[list[int]]:
    """The positions of each process: every n-th one."""
    return [list(batch[k::processes]) for k in range(processes)]
