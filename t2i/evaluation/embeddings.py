"""Vectors of every caption of a prepared set: written while they are computed, read where they lie.

A folder of embeddings holds `text_embeddings.npy` (projected, float32 (N, D)) and `text_embeddings_pooled.npy` (mean of
the last hidden states over a caption's own tokens, float32 (N, W)), which are memory-mapped; `text_index.json` (what
each row is, one row a line); `text_rows.npz` (the same as numbers); and `embedded.json` (how many rows are there).
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t2i.data.base import SPLITS
from t2i.data.reading import texts
from t2i.evaluation.extractors.registry import Extractor
from t2i.evaluation.vectors import unit
from t2i.store import write_json

PROJECTED, POOLED, INDEX = "text_embeddings.npy", "text_embeddings_pooled.npy", "text_index.json"
ROWS, PROGRESS = "text_rows.npz", "embedded.json"
BLOCK = 1024
"""Rows that are on the disk before the next ones are begun: what an interruption loses at most."""


@dataclass(frozen=True)
class Rows:
    """What the rows of embeddings are. All arrays have one entry a row."""

    image: np.ndarray
    """int32: which image, counted from 0; the rows of one image follow each other."""
    first: np.ndarray
    """int32: the first row with the same caption; the row itself, mostly."""
    group: np.ndarray
    """int32: position in `groups` of the image's domain, the rarest where it has several."""
    groups: list[str]
    """Domains, the most frequent first; an empty name for images without."""

    @classmethod
    def read(cls, folder: Path) -> "Rows":
        with np.load(folder / ROWS, allow_pickle=False) as arrays:
            return cls(arrays["image"], arrays["first"], arrays["group"], arrays["groups"].tolist())


def captions(prepared: Path) -> Iterator[tuple[str, str, tuple[str, ...], list[str]]]:
    """Split, id, domains and captions of every image of a prepared set."""
    for split in SPLITS:
        for rows in texts(prepared, split, ["id", "domains", "captions"]):
            for row in rows:
                yield split, row["id"], tuple(row["domains"]), row["captions"]


def write_index(prepared: Path, folder: Path) -> Rows:
    """Writes `text_index.json` and `text_rows.npz`: for 600,000 captions about 20 MB of memory."""
    images, combinations, digests = array("i"), array("i"), array("Q")
    numbers: dict[tuple[str, ...], int] = {}
    with open(folder / INDEX, "w", encoding="utf-8") as file:
        for image, (split, key, domains, said) in enumerate(captions(prepared)):
            for caption in said:
                entry = {"row": len(images), "split": split, "image": key, "caption": caption}
                file.write(("[\n" if not images else ",\n") + json.dumps(entry, ensure_ascii=False))
                images.append(image)
                combinations.append(numbers.setdefault(domains, len(numbers)))
                digests.frombytes(hashlib.blake2b(caption.encode(), digest_size=16).digest())
        file.write("\n]\n" if images else "[]\n")
    group, groups = _rarest(np.array(combinations, np.int32), list(numbers))
    rows = Rows(np.array(images, np.int32), _first(np.array(digests, np.uint64).reshape(-1, 2)), group, groups)
    np.savez(folder / ROWS, image=rows.image, first=rows.first, group=rows.group, groups=np.array(groups, np.str_))
    return rows


def _first(digests: np.ndarray) -> np.ndarray:
    """For each of uint64 (N, 2) the first row that is equal, int32 (N,)."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: of equal rows the first comes first
    new = np.ones(len(order), bool)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    first = np.empty(len(order), np.int32)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


def _rarest(combination: np.ndarray, names: list[tuple[str, ...]]) -> tuple[np.ndarray, list[str]]:
    """Of each row's combination of names the rarest one: positions in the list of names by frequency, and that list."""
    often = Counter[str]()
    for number, count in enumerate(np.bincount(combination, minlength=len(names)).tolist()):
        often.update(dict.fromkeys(names[number] or ("",), count))
    groups = sorted(often, key=lambda name: (-often[name], name))
    rarest = [max(map(groups.index, domains or ("",))) for domains in names]
    return np.array(rarest, np.int32)[combination], groups


def embed(
    prepared: Path, folder: Path, rows: Rows, extractor: Extractor, batch_size: int, done: Callable[[int], object]
) -> None:
    """Writes the vectors of all rows, or of those that an interrupted call left; `done` hears how many rows are there.

    Each different caption is computed once.
    """
    widths = [vectors.shape[1] for vectors in extractor.text_vectors(["a"])]
    paths = folder / PROJECTED, folder / POOLED
    progress = folder / PROGRESS
    start = json.loads(progress.read_text(encoding="utf-8"))["rows"] if progress.exists() else 0
    if not start:
        for path, width in zip(paths, widths, strict=True):
            np.lib.format.open_memmap(path, "w+", np.float32, (len(rows.first), width))
    done(start)
    for begin, block in _blocks(prepared, start):
        own = [i for i in range(len(block)) if rows.first[begin + i] == begin + i]
        own.sort(key=lambda i: len(block[i]))  # captions of like length need less padding
        # Mapped anew for each block: what is written stays no part of this process's memory.
        arrays = [np.load(path, mmap_mode="r+") for path in paths]
        for k in range(0, len(own), batch_size):
            batch = own[k : k + batch_size]
            for vectors, computed in zip(arrays, extractor.text_vectors([block[i] for i in batch]), strict=True):
                vectors[[begin + i for i in batch]] = computed
        for vectors in arrays:
            vectors[begin : begin + len(block)] = vectors[rows.first[begin : begin + len(block)]]
            vectors.flush()
        write_json(progress, {"rows": begin + len(block), "projected": widths[0], "pooled": widths[1]})
        done(len(block))


def _blocks(prepared: Path, start: int) -> Iterator[tuple[int, list[str]]]:
    """Captions from row `start` on, `BLOCK` at a time, each block with its first row."""
    begin, block = start, list[str]()
    stream = (caption for *_, said in captions(prepared) for caption in said)
    for row, caption in enumerate(stream):
        if row < start:
            continue
        block.append(caption)
        if len(block) == BLOCK:
            yield begin, block
            begin, block = begin + BLOCK, []
    if block:
        yield begin, block


def entries(folder: Path, wanted: Collection[int]) -> dict[int, dict[str, str]]:
    """What `text_index.json` says about some rows: split, image and caption."""
    found = {}
    with open(folder / INDEX, encoding="utf-8") as file:
        for row, line in enumerate(file, start=-1):  # the first line opens the list
            if row in wanted:
                found[row] = json.loads(line.rstrip().removesuffix(","))
    return found


def nearest(vectors: np.ndarray, queries: np.ndarray, rows: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Of some `rows` of `vectors` (N, D) those with the largest cosines to each of `queries` (Q, D).

    Gives rows, int64 (Q, k), and cosines, float64 (Q, k), the largest first; k is `most`, or fewer where there are.
    """
    asked = unit(queries)
    places, cosines = np.empty((len(asked), 0), np.int64), np.empty((len(asked), 0))
    for start in range(0, len(rows), 16 * BLOCK):
        part = rows[start : start + 16 * BLOCK]
        cosines = np.hstack([cosines, asked @ unit(vectors[part]).T])
        places = np.hstack([places, np.broadcast_to(part, (len(asked), len(part)))])
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :most]
        places, cosines = np.take_along_axis(places, best, 1), np.take_along_axis(cosines, best, 1)
    return places, cosines


def principal_plane(vectors: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components 1 and 2 of the rows of `vectors` (N, D), each brought to length one.

    Gives the coordinates of the rows `chosen`, float64 (n, 2), and the shares of the variance, float64 (2,). Needs
    D >= 2. The covariance is summed block by block (Pearson 1901); signs are such that the largest weight is positive.
    """
    count, width = vectors.shape
    total, products = np.zeros(width), np.zeros((width, width))
    for start in range(0, count, 16 * BLOCK):
        block = unit(vectors[start : start + 16 * BLOCK])
        total += block.sum(axis=0)
        products += block.T @ block
    mean = total / count
    values, axes = np.linalg.eigh(products / count - np.outer(mean, mean))
    plane = axes[:, [-1, -2]]
    plane *= np.sign(plane[np.abs(plane).argmax(axis=0), [0, 1]])
    variance = max(float(values.clip(0).sum()), np.finfo(np.float64).tiny)
    return (unit(vectors[chosen]) - mean) @ plane, values[[-1, -2]].clip(0) / variance
