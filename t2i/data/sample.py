"""One image with everything that was said about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i.data.spool import Spool

CONTROL = dict.fromkeys([*range(32), *range(127, 160)], " ")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with everything that was said about it."""

    id: str
    """Stable within its source: the COCO image id, or the path relative to the root."""
    path: Path
    """Where the image file should be; it need not exist (preparation sets such a sample aside)."""
    captions: tuple[str, ...]
    """All captions, white space normalised, empty and repeated ones too (preparation drops and lists them)."""
    domains: tuple[str, ...]
    """Sorted: COCO supercategories, or the domain that a folder gives."""
    categories: tuple[str, ...]
    """Sorted COCO category names; empty where the source has none."""
    license: str = ""
    """What the source says about the licence: COCO's licence id, a column of metadata; empty where it says nothing."""
    origin: str = ""
    """Where it lies inside of a container (shard and key, file and row), for messages; empty for a file of its own."""
    repeats: int = 1
    """How often an epoch sees it, as its source asks."""


def spooled(samples: Iterable[Sample]) -> Spool[Sample]:
    """Samples in a temporary file."""
    return Spool(samples, pack=packed, unpack=unpacked)


def packed(sample: Sample) -> list[Any]:
    """A sample as JSON values."""
    said = [sample.captions, sample.domains, sample.categories, sample.license, sample.origin, sample.repeats]
    return [sample.id, str(sample.path), *said]


def unpacked(value: list[Any]) -> Sample:
    """The inverse of `packed`."""
    key, path, captions, domains, categories, *rest = value
    return Sample(key, Path(path), tuple(captions), tuple(domains), tuple(categories), *rest)


def clean(captions: Iterable[str]) -> tuple[str, ...]:
    """Captions as valid Unicode, runs of white space and control characters made one space.

    Empty ones stay, for preparation to list.
    """
    valid = (caption.encode("utf-8", "replace").decode().translate(CONTROL) for caption in captions)
    return tuple(" ".join(caption.split()) for caption in valid)
