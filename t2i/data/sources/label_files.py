"""Labelled images as they are published: CIFAR-10's batches (Python's or binary), the idx files of the MNIST family."""

import gzip
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.data.files import plain_pickle
from t2i.data.files.archives import members
from t2i.errors import UserError

if TYPE_CHECKING:
    import numpy as np

MAX_BYTES = 256 * 2**20
"""A batch has 31 MB, Fashion-MNIST's training images 47 MB."""
BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
IDX = [f"{split}-{kind}" for split in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
SIDE = 32
ROW = 1 + 3 * SIDE * SIDE


@dataclass(frozen=True)
class Labelled:
    """`pixels`: uint8 (H, W) or (H, W, 3); `label`: the number of the class."""

    id: str
    split: str
    pixels: "np.ndarray"
    label: int


def read_batches(files: dict[str, Path]) -> Iterator[Labelled]:
    """CIFAR-10 from its batches, or from the archive under the name of the empty string; raises UserError."""
    for name, path, data in _contents(files):
        stem = name.removesuffix(".bin")
        pixels, labels = _binary(path, data) if name.endswith(".bin") else _pickled(path, data)
        split = "test" if stem == "test_batch" else "train"
        images = pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield Labelled(f"{stem}_{number:05d}", split, image.copy(), int(label))


def _contents(files: dict[str, Path]) -> Iterator[tuple[str, Path, bytes]]:
    """Name, file and bytes of each batch."""
    if "" in files:
        missing = set(BATCHES)
        for member, size, content in members(files[""]):
            name = member.rpartition("/")[2]
            if name.removesuffix(".bin") in missing:
                missing.discard(name.removesuffix(".bin"))
                _bounded(files[""], size)
                yield name, files[""], content.read()
        if missing:
            raise UserError(f"{files['']} has no {min(missing)}: download cifar-10-python.tar.gz again.")
        return
    for name, path in files.items():
        _bounded(path, path.stat().st_size)
        yield name, path, path.read_bytes()


def _pickled(path: Path, data: bytes) -> tuple["np.ndarray", list[int]]:
    try:
        batch = plain_pickle.parse(data)
        fields = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
        pixels, labels = fields["data"], fields["labels"]
        if pixels.shape != (len(labels), ROW - 1):
            raise ValueError(f"data of shape {pixels.shape} for {len(labels)} labels")
    except plain_pickle.Refused as error:
        raise UserError(f"{path} is no batch of images but may run code ({error}): do not use it.") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path} is not a batch of CIFAR-10 ({error}): download it again.") from error
    return pixels, labels


def _binary(path: Path, data: bytes) -> tuple["np.ndarray", Any]:
    import numpy as np

    if not data or len(data) % ROW:
        raise UserError(f"{path} has {len(data):,} bytes, no multiple of {ROW:,}: download it again.")
    rows = np.frombuffer(data, np.uint8).reshape(-1, ROW)
    return rows[:, 1:], rows[:, 0]


def read_idx(files: dict[str, Path]) -> Iterator[Labelled]:
    """Images and labels of the idx format (the MNIST database), packed with gzip or not; raises UserError."""
    for split, name in (("train", "train"), ("test", "t10k")):
        images = _idx(files[f"{name}-images-idx3-ubyte"], 3)
        labels = _idx(files[f"{name}-labels-idx1-ubyte"], 1)
        if len(images) != len(labels):
            raise UserError(
                f"{files[f'{name}-images-idx3-ubyte']} has {len(images)} images for {len(labels)} labels: "
                "download both again."
            )
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield Labelled(f"{split}_{number:05d}", split, image, int(label))


def _idx(path: Path, dimensions: int) -> "np.ndarray":
    import numpy as np

    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        _bounded(path, len(data))
        zero, kind, count, *shape = struct.unpack(f">HBB{dimensions}I", data[: 4 + 4 * dimensions])
        if (zero, kind, count) != (0, 8, dimensions):  # 8: unsigned bytes
            raise ValueError(f"a header of {zero}, {kind}, {count}")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise UserError(f"{path} is not an idx file of bytes ({str(error)[:120]}): download it again.") from error


def _bounded(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise UserError(
            f"{path} holds more than {MAX_BYTES:,} bytes, as none of these data sets does: download it again."
        )
