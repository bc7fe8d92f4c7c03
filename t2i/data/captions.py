"""Which caption and which order an epoch sees: functions of the seed, never of a global state."""

from collections.abc import Sequence

import numpy as np

from t2i.randomness import generator


def caption_choice(seed: int, epoch: int, sample_id: str, captions: Sequence[str]) -> str:
    """One of the sample's captions, each equally likely, the same for every batch size and process count."""
    return captions[int(generator(seed, "caption", epoch, sample_id).integers(len(captions)))]


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A permutation of range(count), int64 (count,)."""
    return generator(seed, "order", epoch).permutation(count)
