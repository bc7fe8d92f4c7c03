"""Lists inside large JSON files, one item at a time: COCO's instances are 450 MB, and gigabytes once parsed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson

from t2i.errors import UserError

BLOCK = 2**16


def items(path: Path, key: str) -> Iterator[Any]:
    """The items of the list under `key` of the object that the file holds; raises UserError when it is not there."""
    found = False
    for item in _events(path, f"{key}.item"):
        found = True
        yield item
    if not found and not any(True for _ in _events(path, key)):
        raise UserError(f"{path} has no {key!r}: expected the file as it was published.")


def _events(path: Path, prefix: str) -> Iterator[Any]:
    try:
        with path.open("rb") as file:
            yield from ijson.items(file, prefix, use_float=True, buf_size=BLOCK)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} is not JSON ({reason}): unpack or download it again.") from error
