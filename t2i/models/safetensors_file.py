"""Safetensors files by their header: names, shapes and metadata without reading a tensor, and renaming without copying one.

The format: 8 bytes little-endian with the header's length, the header as JSON, the tensors' bytes in one block.
"""

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i.errors import UserError

METADATA = "__metadata__"
LARGEST = 100 * 2**20
"""Bytes of the longest header that is read; the library's own limit."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    """F32, F16, BF16, ... by name."""
    metadata: dict[str, str]


def header_of(path: Path) -> Header:
    """Raises UserError when the file is missing, cut short, or no safetensors file."""
    entries, _ = _read(path)
    metadata = entries.pop(METADATA, {})
    try:
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in entries.items()}
        dtypes = {name: str(entry["dtype"]) for name, entry in entries.items()}
    except (TypeError, KeyError, ValueError) as error:
        raise _broken(path, "its header describes no tensors") from error
    return Header(shapes, dtypes, metadata)


def rename(source: Path, target: Path, new: Callable[[str], str]) -> None:
    """Copy a file with every tensor under another name; sorts the header, which the library writes in changing order."""
    entries, length = _read(source)
    metadata = {METADATA: entries.pop(METADATA)} if METADATA in entries else {}
    renamed = metadata | {new(name): entry for name, entry in entries.items()}
    text = json.dumps(renamed, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    with open(source, "rb") as old, open(partial, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        old.seek(length)
        shutil.copyfileobj(old, file, 16 * 2**20)
    os.replace(partial, target)


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """The header's entries, and where the tensors begin."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LARGEST, path.stat().st_size - 8):
                raise _broken(path, "its header does not fit into it")
            entries: dict[str, Any] = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != METADATA]
        if 8 + length + max(ends, default=0) > path.stat().st_size:
            raise _broken(path, "it is cut short")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a .safetensors file") from error
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise _broken(path, "its header is no JSON of tensors") from error
    return entries, 8 + length


def _broken(path: Path, reason: str) -> UserError:
    return UserError(f"{path} cannot be read as safetensors: {reason}; copy or download it again")


def count(shapes: dict[str, tuple[int, ...]]) -> int:
    """Number of scalars."""
    return sum(math.prod(shape) for shape in shapes.values())
