"""A folder of pictures, whoever made them: which there are, what they show by what is said about them, and their pixels.

Pixels by the rules of preparation (`t2i/data/preparation`: orientation, colour profile, transparency on its ground, grey as
equal red, green and blue), whole and in their own size: nothing is cropped here.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from t2i.data.files.fence import Fence
from t2i.data.files.walk import walk
from t2i.data.given.inside import TOOLS, inside
from t2i.data.given.said import said
from t2i.data.pictures import Pictures
from t2i.errors import ConfigError
from t2i.progress import progress

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Gallery:
    """The pictures of a folder in the order of their names."""

    root: Path
    names: tuple[str, ...]
    """Paths below the root."""
    captions: tuple[str, ...] | None
    """One for each; None unless every picture has one."""
    seeds: tuple[int, ...] | None
    """From which each was drawn; None unless every picture says."""
    source: str
    """Where the captions are from, in words; empty where there are none."""
    notes: tuple[str, ...] = ()
    """What was passed over, and why, in sentences."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [self.root / name for name in self.names]

    def part(self, rows: Sequence[int]) -> "Gallery":
        """Some of the pictures, in the order of `rows`."""
        return Gallery(
            self.root,
            tuple(self.names[row] for row in rows),
            None if self.captions is None else tuple(self.captions[row] for row in rows),
            None if self.seeds is None else tuple(self.seeds[row] for row in rows),
            self.source,
            self.notes,
        )

    @cached_property
    def pictures(self) -> Pictures:
        """Their pixels, read when they are asked for; raises ConfigError for one that cannot be read."""
        sizes = [size_of(path) for path in progress(self.paths, f"reading {self.root.name}", "image")]
        return Pictures.of_sizes(sizes, lambda rows: [pixels(self.root / self.names[row]) for row in rows])


def gallery(folder: str | Path, key: str = "pictures") -> Gallery:
    """The pictures below `folder`, which `key` of the configuration names.

    Raises ConfigError when it is no folder, holds none, or a list of captions does not fit.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise ConfigError(f"{key}={folder} {what}; give a folder of pictures, e.g. {key}=outputs/my_pictures")
    if (root / "store").is_dir():
        raise ConfigError(
            f"{key}={folder} is an output folder of runs; give the pictures of one, e.g. {key}=<run>/images"
        )
    found = list(walk(root, Fence(root)))
    names = sorted(own.file for own in found if own.picture and not own.reason)
    passed = [f"{own.file} ({own.reason})" for own in found if own.picture and own.reason]
    if not names:
        why = f"; {passed[0]} is passed over" if passed else ""
        raise ConfigError(f"{key}={folder} holds no picture that can be read{why}; PNG, JPEG or WebP files are")
    captions, source = said(root, names, sorted(own.file for own in found if not own.picture))
    within = {name: own for name in names if (own := inside(root / name)) is not None}
    if not captions and within:
        captions = {name: own.prompt for name, own in within.items() if own.prompt}
        source = " and ".join(dict.fromkeys(TOOLS[own.tool] for own in within.values()))
    notes = []
    if passed:
        notes.append(f"{len(passed)} files of {root.name} are passed over, the first is {passed[0]}")
    if captions and len(captions) < len(names):
        lacking = next(name for name in names if name not in captions)
        notes.append(
            f"{source} say a caption for {len(captions)} of the {len(names)} pictures of {root.name} and none for {lacking}: "
            "captions are not read"
        )
    whole = len(captions) == len(names)
    seeds = [own.seed for name in names if (own := within.get(name)) is not None and own.seed is not None]
    return Gallery(
        root,
        tuple(names),
        tuple(captions[name] for name in names) if whole else None,
        tuple(seeds) if len(seeds) == len(names) else None,
        source if whole else "",
        tuple(notes),
    )


def size_of(path: Path) -> tuple[int, int]:
    """Height and width as the picture is looked at; ConfigError for a file that is no picture."""
    from PIL import ExifTags

    with _opened(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def pixels(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) of a whole picture in sRGB; ConfigError for a file that cannot be read."""
    from PIL import ImageOps

    from t2i.data.preparation.colours import rgb

    with _opened(path) as image:
        image.load()
        return np.asarray(rgb(ImageOps.exif_transpose(image)))


@contextlib.contextmanager
def _opened(path: Path) -> "Iterator[Image.Image]":
    from t2i.data.preparation.colours import Unusable
    from t2i.data.preparation.decode import opened

    try:
        with opened(path) as image:
            yield image
    except Unusable as error:
        raise ConfigError(f"{path} cannot be judged: {error}; remove it, or save it again") from error
