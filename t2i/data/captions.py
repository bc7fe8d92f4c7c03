"""Which caption and which order an epoch sees: functions of the seed, never of a global state."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

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
    """From `first_step` on, the (epoch, position) pairs of each global batch, all of one size.

    Pictures of one size: epochs of permutations, joined end to end. Of several: each size's part of the permutation is
    cut into batches, the last one filled from its beginning, and the batches are shuffled.
    """
    if len(set(sizes)) > 1:
        yield from _bucketed(seed, sizes, batch_size, first_step)
    count, epoch, permutation = len(sizes), -1, None
    position = first_step * batch_size
    while True:
        batch = []
        for _ in range(batch_size):
            if permutation is None or position // count != epoch:
                epoch = position // count
                permutation = order(seed, epoch, count)
            batch.append((epoch, int(permutation[position % count])))
            position += 1
        yield batch


def _bucketed(
    seed: int, sizes: Sequence[tuple[int, int]], batch_size: int, first_step: int
) -> Iterator[list[tuple[int, int]]]:
    counts = Counter(sizes)
    per_epoch = sum(-(-count // batch_size) for count in counts.values())
    for epoch in itertools.count(first_step // per_epoch):
        members: dict[tuple[int, int], list[int]] = {size: [] for size in sorted(counts)}
        for position in order(seed, epoch, len(sizes)).tolist():
            members[sizes[position]].append(position)
        batches = []
        for own in members.values():
            endless = itertools.cycle(own)
            batches += [list(itertools.islice(endless, batch_size)) for _ in range(-(-len(own) // batch_size))]
        shuffled = generator(seed, "batches", epoch).permutation(per_epoch).tolist()
        for number in shuffled[max(0, first_step - epoch * per_epoch) :]:
            yield [(epoch, position) for position in batches[number]]
