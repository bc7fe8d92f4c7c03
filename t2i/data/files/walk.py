"""Every file below a folder, once: pictures, files that are none, and what is passed over with the reason."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from t2i.data.files import kinds
from t2i.data.files.fence import Fence, written

SYSTEM = {"thumbs.db", "desktop.ini", ".ds_store"}
MAC = "__MACOSX"


@dataclass(frozen=True)
class Found:
    """A file, or a linked folder that is not entered."""

    file: str
    """Its path below the root."""
    picture: bool
    """Whether it is an image, by its name."""
    reason: str = ""
    """Why an image is passed over."""


def walk(root: Path, fence: Fence) -> Iterator[Found]:
    """All files below `root` in a fixed order.

    Hidden folders (`.ipynb_checkpoints`) and what macOS leaves (`._x.jpg`, `__MACOSX`) are looked at and passed over.
    A linked folder is entered where the fence allows it, unless it leads back into the root.
    """
    yield from _folder(root, "", fence, "", {root.resolve()})


def _folder(folder: Path, prefix: str, fence: Fence, reason: str, entered: set[Path]) -> Iterator[Found]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        yield Found(prefix.rstrip("/"), True, "not permitted to read: a folder")
        return
    for entry in entries:
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            hidden = f"in a hidden folder: {entry.name}" if entry.name.startswith(".") else ""
            mac = "left by macOS" if entry.name == MAC else ""
            yield from _folder(folder / entry.name, f"{name}/", fence, reason or mac or hidden, entered)
        elif entry.is_symlink() and _is_folder(folder / entry.name):
            yield from _linked(folder / entry.name, name, fence, reason, entered)
        else:
            yield _file(entry.name, name, reason)


def _file(own: str, name: str, reason: str) -> Found:
    if own.startswith("._") or own.lower() in SYSTEM or reason == "left by macOS":
        return Found(name, False)
    if not kinds.is_image(own):
        return Found(name, False)
    return Found(name, True, reason or ("hidden" if own.startswith(".") else "") or kinds.refusal(own))


def _linked(path: Path, name: str, fence: Fence, reason: str, entered: set[Path]) -> Iterator[Found]:
    target = path.resolve()
    if not fence.holds(path):
        shown = written(str(target))
        yield Found(name, True, f"a link to a folder outside of the root: dataset.links=[{shown}] allows it")
    elif any(target.is_relative_to(folder) or folder.is_relative_to(target) for folder in entered):
        yield Found(name, True, "a link to a folder that is read already")
    else:
        yield from _folder(path, f"{name}/", fence, reason, entered | {target})


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
