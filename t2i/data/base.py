"""What every source of image-caption pairs is: a dataclass that is its own configuration, and the samples it lists."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.data.crop import Crop
from t2i.data.keywords import KeywordRule
from t2i.data.spool import Spool
from t2i.errors import ConfigError, UserError

if TYPE_CHECKING:
    from t2i.store import Store

SPLITS = ("train", "held_out")
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


@dataclass
class Dataset:
    """A source of image-caption pairs. Subclasses say how files become samples."""

    kind: str
    """Which source reads the files: coco, folder, flickr and so on. Set by the schema."""
    name: str
    """What tables, figures and tracking call this data set."""
    root: str = ""
    """Folder that holds the data, in the layout of the kind."""
    obtain: str = ""
    """How to get the files; part of the message when they are not there."""
    kaggle: str = ""
    """A data set of kaggle.com (owner/name) that kagglehub downloads where root is empty."""
    domains: list[str] = field(default_factory=list)
    """Keep images of these domains or categories (COCO: supercategory or category names). Empty: all."""
    keywords: dict[str, list[str]] = field(default_factory=dict)
    """Words by domain: where the source names none, an image has the domains whose words its captions use."""
    fraction: float = 1.0
    """Share (above 0, at most 1) of the training images to use, a fair subset that depends on the seed."""
    limit: Optional[int] = None
    """At most this many training images, chosen likewise. Null: all."""
    held_out: Optional[int] = None
    """At most this many held-out images, chosen likewise. Null: all."""
    resolution: int = 256
    """Prepared images have about resolution x resolution pixels, RGB; a multiple of 8 from 64 to 1024."""
    crop: Crop = Crop.centre
    """What is kept of an image that is not square: centre, random (by seed and content) or buckets (aspect ratios)."""
    near_duplicates: Optional[int] = 12
    """Images whose perceptual hashes differ in at most so many of 256 bits look the same; null: do not compare."""
    quarantine: float = 0.01
    """Share of unusable images (0 to 1) past which preparation stops."""
    seed: int = 0
    """Seed of subsets and splits."""

    def validate(self) -> None:
        """Checks what can be checked without reading data; raises ConfigError that names the key."""
        kind = next(field.default for field in fields(self) if field.name == "kind")
        if self.kind != kind:
            raise ConfigError(f"dataset.kind={self.kind} is not what dataset={self.name} reads: leave it at {kind}.")
        if self.resolution % 8 or not 64 <= self.resolution <= 1024:
            raise ConfigError(
                f"dataset.resolution={self.resolution} is not a multiple of 8 from 64 to 1024, such as 64 or 256."
            )
        if self.near_duplicates is not None and not 0 <= self.near_duplicates <= 32:
            raise ConfigError(
                f"dataset.near_duplicates={self.near_duplicates} is not a number of bits from 0 to 32: type "
                f"dataset.near_duplicates=12, or null to compare nothing."
            )
        if not 0 <= self.quarantine <= 1:
            raise ConfigError(
                f"dataset.quarantine={self.quarantine} is not a share from 0 to 1: type dataset.quarantine=0.01."
            )
        if not 0 < self.fraction <= 1:
            raise ConfigError(
                f"dataset.fraction={self.fraction} is not a share above 0 and at most 1: type dataset.fraction=0.05."
            )
        if self.limit is not None and self.limit < 1:
            raise ConfigError(
                f"dataset.limit={self.limit} leaves nothing to train on: type a number from 1, or null for all."
            )
        if self.held_out is not None and self.held_out < 0:
            raise ConfigError(f"dataset.held_out={self.held_out} is negative: type a number from 0, or null for all.")
        self.validate_root()

    def validate_root(self) -> None:
        """Raises ConfigError unless `root` names an existing folder, or a download takes its place."""
        if self.kaggle and not self.root:
            return
        if self.root in ("", "???"):
            found = "dataset.root is not set"
        elif not Path(self.root).is_dir():
            found = f"dataset.root={self.root} " + ("is a file" if Path(self.root).exists() else "does not exist")
        else:
            return
        ways = f" ({self.obtain})" if self.obtain else ""
        raise ConfigError(f"{found}{ways}: type dataset.root=<folder> with the folder that holds {self.layout()}.")

    def layout(self) -> str:
        """The files that this kind expects below its root, for messages."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        self._place: Optional[Path] = None

    def location(self) -> Path:
        """The folder that is read: the root, unless `acquire` put the files elsewhere."""
        return self._place or Path(self.root)

    def acquire(self, store: "Store") -> None:
        """Makes the files be there: downloads them, or writes out images that lie in containers. Raises UserError."""
        self._place = None
        if self.kaggle and not self.root:
            from t2i.data.download import from_kaggle

            if store.main:  # one process downloads, the others find it done
                self._place = from_kaggle(self.kaggle)
            store.barrier()
            self._place = from_kaggle(self.kaggle)

    def absent(self, what: str) -> UserError:
        """`what` is not there: what was found, what was expected, and how to get it."""
        ways = f" ({self.obtain})" if self.obtain else ""
        return UserError(f"{what}: {inventory(self.location())}, expected {self.layout()}{ways}.")

    def samples(self, split: str) -> Spool[Sample]:
        """The samples of `split` ("train" or "held_out") in an order that never changes, filtered and limited.

        They lie in a temporary file: a data set may have more of them than memory should hold.
        Raises UserError when the files are not those of this kind, ConfigError when a domain does not exist.
        """
        import numpy as np

        listing: Iterable[Sample] = self.listing(split)
        if self.keywords:
            rule = KeywordRule(self.keywords)
            listing = (sample if sample.domains else _labelled(sample, rule) for sample in listing)
        chosen = spooled(self._filtered(listing, split))
        count = self.held_out
        if split == "train":
            share = max(1, round(self.fraction * len(chosen)))
            count = share if self.limit is None else min(share, self.limit)
        if count is None or count >= len(chosen):
            return chosen
        draws = np.fromiter((draw(self.seed, "subset", sample.id) for sample in chosen), np.float64, len(chosen))
        return chosen.taken(np.sort(np.argsort(draws, kind="stable")[:count]).tolist())

    def listing(self, split: str) -> Iterable[Sample]:
        """Every sample of `split`, before the filter and the limits, in an order that never changes."""
        raise NotImplementedError

    def _filtered(self, samples: Iterable[Sample], split: str) -> Iterator[Sample]:
        """The samples of which a domain or category is one of `domains`."""
        wanted = set(self.domains)
        valid: set[str] = set()
        domains: set[str] = set()
        sample = None
        for sample in samples:
            names = {*sample.domains, *sample.categories}
            if not wanted or wanted & names:
                yield sample
            valid |= names
            domains.update(sample.domains)
        unknown = [name for name in self.domains if name not in valid]
        if unknown and sample and split == "train":  # few held-out images need not show everything
            raise ConfigError(
                f"dataset.domains={listed(self.domains)} names {unknown[0]!r}, which no training image has: "
                f"type some of {listed(sorted(domains))}."
            )

    def digest_parts(self) -> dict[str, Any]:
        """The part of the configuration on which the pixels of a prepared image depend, beyond its file."""
        parts: dict[str, Any] = {"resolution": self.resolution, "crop": self.crop.value}
        return parts | ({"seed": self.seed} if self.crop is Crop.random else {})


def spooled(samples: Iterable[Sample]) -> Spool[Sample]:
    """Samples in a temporary file."""
    return Spool(samples, pack=_packed, unpack=_unpacked)


def _packed(sample: Sample) -> list[Any]:
    return [sample.id, str(sample.path), sample.captions, sample.domains, sample.categories, sample.license]


def _unpacked(value: list[Any]) -> Sample:
    key, path, captions, domains, categories, license = value
    return Sample(key, Path(path), tuple(captions), tuple(domains), tuple(categories), license)


def _labelled(sample: Sample, rule: KeywordRule) -> Sample:
    """The sample with the domains, and where it has none the categories, that its captions name."""
    domains, categories = rule.labels(sample.captions)
    return replace(sample, domains=domains, categories=sample.categories or categories)


def draw(*parts: int | str) -> float:
    """A uniform number in [0, 1) that is a function of `parts` alone.

    One 64-bit BLAKE2b digest: forty times cheaper than a generator for each of 100,000 images, and an image keeps
    its number when others come or go.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return (
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") / 2**64
    )


def clean(captions: Iterable[str]) -> tuple[str, ...]:
    """Captions as valid Unicode, runs of white space and control characters made one space.

    Empty ones stay, for preparation to list.
    """
    valid = (caption.encode("utf-8", "replace").decode().translate(CONTROL) for caption in captions)
    return tuple(" ".join(caption.split()) for caption in valid)


class Fence:
    """Which files may be read: those below a root, with `..` and symbolic links followed."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._folders: dict[Path, Path] = {}  # many images share a folder

    def refusal(self, path: Path) -> str:
        """Why the file is not read, in words; empty when nothing speaks against it."""
        try:
            if b"\0" in str(path).encode():
                return "not a usable file name"
            if not self._resolved(path).is_relative_to(self._root):
                return "outside the root folder"
            if not path.is_file():
                return "missing"
            return "" if os.access(path, os.R_OK) else "not permitted to read"
        except (OSError, ValueError, RuntimeError):  # too long, not Unicode, a loop of links
            return "not a usable file name"

    def _resolved(self, path: Path) -> Path:
        if path.is_symlink() or path.name == "..":
            return path.resolve()
        folder = path.parent
        if folder not in self._folders:
            self._folders[folder] = folder.resolve()
        return self._folders[folder] / path.name


def listed(names: Iterable[object], most: int = 12) -> str:
    """`[a,b,c]` as one types it on the command line, cut after `most` names."""
    texts = [str(name) for name in names]
    return "[" + ",".join(texts[:most]) + (",..." if len(texts) > most else "") + "]"


def inventory(root: Path, most: int = 8) -> str:
    """What a folder holds, in words for an error message."""
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in root.iterdir())
    return f"{root} holds {listed(names, most)}" if names else f"{root} is empty"
