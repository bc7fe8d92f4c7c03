"""What every source of image-caption pairs is: a dataclass that is its own configuration, and the samples it lists."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.data.checks import check
from t2i.data.crop import Crop
from t2i.data.files.fence import Fence, written
from t2i.data.files.text_files import parsed, read_text
from t2i.data.keywords import KeywordRule
from t2i.data.sample import Sample, clean, spooled
from t2i.data.spool import Spool
from t2i.errors import ConfigError, UserError

if TYPE_CHECKING:
    from t2i.store import Store

SPLITS = ("train", "held_out")


class NearDuplicates(Enum):
    """What becomes of images of one split that look alike."""

    drop = "drop"
    """The one with the most pixels stays."""
    keep = "keep"
    """All stay, and are listed."""
    merge = "merge"
    """The one with the most pixels stays, with the captions of all."""


@dataclass
class Remarks:
    """What a data set says of itself beside its samples."""

    left_out: dict[str, Spool[list[str]]] = field(default_factory=dict)
    """By split, name and reason of every image that is known and neither used nor set aside: another domain, say."""
    containers: list[Path] = field(default_factory=list)
    """Files below the root whose images `acquire` wrote out."""
    notes: dict[str, None] = field(default_factory=dict)
    """Sentences about choices that were made, in the order in which they were."""


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
    caption: str = ""
    """Caption of every image that has none of its own, such as "a photo of a cat"; empty: such images are set aside."""
    background: str = "auto"
    """Ground behind transparent images: a colour such as white or "#808080"; auto: white, or black where what is there is
    so bright that white would hide it."""
    links: list[str] = field(default_factory=list)
    """Folders outside of the root into which links and names below it may lead; the cache of the hub is one already."""
    subset: Optional[str] = None
    """captions_subset.json of an earlier run: prepare the images that it names, on the sides that it says, and no others."""
    near_duplicates: NearDuplicates = NearDuplicates.keep
    """What becomes of images of one split that look alike: keep, drop all but the largest, or merge their captions too."""
    near_bits: Optional[int] = 12
    """Images whose perceptual hashes differ in at most so many of 256 bits look the same; null: do not compare."""
    quarantine: float = 0.01
    """Share of unusable images (0 to 1) past which preparation stops."""
    seed: int = 0
    """Seed of subsets and splits."""
    regularisation: list[str] = field(default_factory=list)
    """Captions of what the tuning should leave as it is (training.prior); []: those that the source knows, if any."""

    def validate(self) -> None:
        """Checks what can be checked without reading data; raises ConfigError that names the key."""
        kind = next(field.default for field in fields(self) if field.name == "kind")
        if self.kind != kind:
            raise ConfigError(f"dataset.kind={self.kind} is not what dataset={self.name} reads: leave it at {kind}.")
        check(self)
        self.validate_root()

    def validate_root(self) -> None:
        """Raises ConfigError unless `root` names an existing folder, or a download takes its place."""
        if self.kaggle and not self.root:
            return
        if self.root in ("", "???"):
            found = "dataset.root is not set"
        elif not Path(self.root).expanduser().is_dir():
            there = Path(self.root).expanduser().exists()
            found = f"dataset.root={self.root} " + ("is a file" if there else "does not exist")
        else:
            return
        ways = f" ({self.obtain})" if self.obtain else ""
        raise ConfigError(f"{found}{ways}: type dataset.root=<folder> with the folder that holds {self.layout()}.")

    def layout(self) -> str:
        """The files that this kind expects below its root, for messages."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        self._place: Optional[Path] = None
        self._remarks = Remarks()

    def classes(self) -> list[str]:
        """The class words of what the pictures show, where it is one subject; empty elsewhere."""
        return []

    def regularised(self) -> list[str]:
        """The captions that `training.prior` keeps the model's pictures of, once `acquire` has been; empty: none are known."""
        return list(self.regularisation)

    @property
    def remarks(self) -> "Remarks":
        """What there is to say about the choice of the images, once `samples` were asked for."""
        return self._remarks

    def location(self) -> Path:
        """The folder that is read: the root, unless `acquire` put the files elsewhere."""
        return self._place or Path(self.root).expanduser()

    def fence(self) -> Fence:
        """Which files may be read: those below the location, or where a link may lead."""
        return Fence(self.location(), [Path(folder).expanduser() for folder in self.links])

    def acquire(self, store: "Store") -> None:
        """Makes the files be there: downloads them, or writes out images that lie in containers. Raises UserError."""
        self._place = None
        if self.kaggle and not self.root:
            from t2i.data.files.download import from_kaggle

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

        listing: Iterable[Sample] = self._captioned(self.listing(split))
        if self.keywords:
            rule = KeywordRule(self.keywords)
            listing = (sample if sample.domains else _labelled(sample, rule) for sample in listing)
        passed = self._remarks.left_out[split] = Spool[list[str]](pack=list)
        if self.subset is not None:
            return self._named(listing, split, passed)
        chosen = spooled(self._filtered(listing, split, passed))
        count = self.held_out
        if split == "train":
            share = max(1, round(self.fraction * len(chosen)))
            count = share if self.limit is None else min(share, self.limit)
        if count is None or count >= len(chosen):
            return chosen
        draws = np.fromiter((draw(self.seed, "subset", sample.id) for sample in chosen), np.float64, len(chosen))
        order = np.argsort(draws, kind="stable")
        key = "held_out" if split == "held_out" else "limit" if count == self.limit else "fraction"
        for place in np.sort(order[count:]).tolist():
            passed.append([self._file(chosen[place]), f"left out by dataset.{key}"])
        return chosen.taken(np.sort(order[:count]).tolist())

    def _captioned(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The samples, those without a caption with that of the configuration."""
        own = clean([self.caption]) if self.caption else ()
        return (replace(sample, captions=own) if own and not any(sample.captions) else sample for sample in samples)

    def _named(self, listing: Iterable[Sample], split: str, passed: Spool[list[str]]) -> Spool[Sample]:
        """Of both splits, the samples that the subset names for this one, in its order."""
        wanted = subsets(Path(str(self.subset)).expanduser())
        both = chain(listing, self._captioned(self.listing("held_out" if split == "train" else "train")))
        places: dict[str, int] = {}

        def named() -> Iterator[Sample]:
            for sample in both:
                key = written(sample.id)
                if key in wanted[split] and key not in places:
                    places[key] = len(places)
                    yield sample
                elif split == "train" and key not in wanted["held_out"]:
                    passed.append([self._file(sample), "not named by dataset.subset"])

        found = spooled(named())
        missing = [key for key in wanted[split] if key not in places]
        if missing:
            raise UserError(
                f"dataset.subset={self.subset} names {len(missing)} images of {split} that dataset={self.name} does not "
                f"have, such as {missing[0]}: give the data set that it was made from."
            )
        return found.taken(places[key] for key in wanted[split])

    def _file(self, sample: Sample) -> str:
        """What an image is called in lists: where it lies in a container, or its path below the location."""
        if sample.origin:
            return sample.origin
        root = self.location()
        return (sample.path.relative_to(root) if sample.path.is_relative_to(root) else sample.path).as_posix()

    def listing(self, split: str) -> Iterable[Sample]:
        """Every sample of `split`, before the filter and the limits, in an order that never changes."""
        raise NotImplementedError

    def _filtered(self, samples: Iterable[Sample], split: str, passed: Spool[list[str]]) -> Iterator[Sample]:
        """The samples of which a domain or category is one of `domains`."""
        wanted = set(self.domains)
        valid: set[str] = set()
        domains: set[str] = set()
        sample = None
        for sample in samples:
            names = {*sample.domains, *sample.categories}
            if not wanted or wanted & names:
                yield sample
            else:
                passed.append([self._file(sample), "left out by dataset.domains"])
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
        parts: dict[str, Any] = {"resolution": self.resolution, "crop": self.crop.value, "background": self.background}
        return parts | ({"seed": self.seed} if self.crop is Crop.random else {})


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


def subsets(path: Path) -> dict[str, dict[str, Any]]:
    """The ids that a captions_subset.json names, by split, in its order; raises UserError for another file."""
    values = parsed(read_text(path), path)
    if not isinstance(values, dict) or not all(isinstance(values.get(split), dict) for split in SPLITS):
        raise UserError(f"{path} is no captions_subset.json: expected the images of train and held_out by their ids.")
    return {split: values[split] for split in SPLITS}


def listed(names: Iterable[object], most: int = 12) -> str:
    """`[a,b,c]` as one types it on the command line, cut after `most` names."""
    texts = [str(name) for name in names]
    return "[" + ",".join(texts[:most]) + (",..." if len(texts) > most else "") + "]"


def inventory(root: Path, most: int = 8) -> str:
    """What a folder holds, in words for an error message."""
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in root.iterdir())
    return f"{root} holds {listed(names, most)}" if names else f"{root} is empty"
