"""Which caption and which order an epoch sees: functions of the seed, never of a global state."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from t2i.randomness import generator


def caption_choice(seed: int, epoch: int, sample_id: str, captions: Sequence[str]) -> str:
    """One of the sample's captions, each equally likely, the same for every batch size and process count."""
    return captions[int(generator(seed, "caption", epoch, sample_id).integers(len(captions)))]


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A permutation of range(count), int64 (count,)."""
    return generator(seed, "order", epoch).permutation(count)


def batch_order(
    seed: int, sizes: Sequence[tuple[int, int]], batch_size: int, first_step: int
) -> Iterator[list[tuple[int, int]]]:
    """From `first_step` on, the (epoch, position) pairs of each global batch.

    Epochs of permutations are joined end to end. Pictures of several sizes: as many batches as one epoch takes are dealt
    together, first those of one size, then the rest, by size; and the batches are shuffled.
    """
    stream = _stream(seed, len(sizes))
    if len(set(sizes)) <= 1:
        for step in itertools.count(first_step):
            yield stream(step * batch_size, batch_size)
    per_epoch = -(-len(sizes) // batch_size)
    for window in itertools.count(first_step // per_epoch):
        samples = stream(window * per_epoch * batch_size, per_epoch * batch_size)
        batches = _dealt(samples, sizes, batch_size)
        shuffled = generator(seed, "batches", window).permutation(per_epoch).tolist()
        for number in shuffled[max(0, first_step - window * per_epoch) :]:
            yield batches[number]


def _stream(seed: int, count: int) -> Callable[[int, int], list[tuple[int, int]]]:
    """The endless sequence of (epoch, position) pairs: a function of where and how many."""
    latest: dict[int, list[int]] = {}

    def part(start: int, number: int) -> list[tuple[int, int]]:
        pairs = []
        for place in range(start, start + number):
            epoch = place // count
            if epoch not in latest:
                latest.clear()
                latest[epoch] = order(seed, epoch, count).tolist()
            pairs.append((epoch, latest[epoch][place % count]))
        return pairs

    return part


def _dealt(
    samples: Sequence[tuple[int, int]], sizes: Sequence[tuple[int, int]], batch_size: int
) -> list[list[tuple[int, int]]]:
    """Batches of one size, as many as there are; then of what is left, which lies by size."""
    members: dict[tuple[int, int], list[tuple[int, int]]] = {size: [] for size in sorted(set(sizes))}
    for sample in samples:
        members[sizes[sample[1]]].append(sample)
    full, rest = [], []
    for own in members.values():
        whole = len(own) // batch_size * batch_size
        full += own[:whole]
        rest += own[whole:]
    ordered = full + rest
    return [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
