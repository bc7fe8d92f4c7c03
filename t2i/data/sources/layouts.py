"""Finding files in folders that people unpacked in more than one way."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from t2i.data.base import Dataset


def image_folder(dataset: Dataset, folders: Sequence[str], names: Sequence[str], count: int, what: str) -> Path:
    """The first of `folders` below the location in which one of the images `names`, the first of `count`, lies.

    Raises UserError when none does; `what` calls the images in that sentence.
    """
    root = dataset.location()
    for name in names:
        for folder in folders:
            if (root / folder / name).is_file():
                return root / folder
    if not names:
        return root / folders[0]
    tried = [f"{folder}/" for folder in folders if folder]
    raise dataset.absent(
        f"none of the {count} images of {what} (the first is {names[0]}) lies in {', '.join(tried[:-1])} or {tried[-1]}"
    )


def find(root: Path, names: Iterable[str], depth: int = 2) -> Path | None:
    """The first file of one of the names in `root`, or in a folder in it down to `depth` levels."""
    names = list(names)
    for level in range(depth + 1):
        for name in names:
            for path in sorted(root.glob("*/" * level + name)):
                if path.is_file():
                    return path
    return None
