"""Copies of what a stage holds in run folders: of tuned weights with their digests, by which a damaged one is seen."""

import json
import os
import shutil
from pathlib import Path

from t2i.errors import UserError
from t2i.store import MANIFEST, Store, require_sound, sha256_file, write_json


def copied(source: Path, target: Path) -> None:
    """A copy of a folder of tuned weights with the digests of its files, by which `require_whole` sees that it is whole."""
    shutil.copytree(source, target)
    files = {path.name: {"sha256": sha256_file(path), "bytes": path.stat().st_size} for path in identifying(source)}
    write_json(target / MANIFEST, {"files": files})


def identifying(folder: Path) -> list[Path]:
    """The files whose bytes identify tuned weights."""
    return sorted(
        path for path in folder.iterdir() if path.suffix in {".safetensors", ".json"} and path.name != MANIFEST
    )


def require_whole(folder: Path, store: Store) -> None:
    """UserError unless the files of a folder of tuned weights are those that the training wrote.

    Folders of older versions, and those that people put together, have no digests to be held against.
    """
    if (folder.parent / MANIFEST).exists():  # inside of a stage
        require_sound(folder.parent)
    path = folder / MANIFEST
    if not path.exists():
        return
    try:
        expected = {
            name: entry["sha256"] for name, entry in json.loads(path.read_text(encoding="utf-8"))["files"].items()
        }
        files = [folder / name for name in expected]
        found = dict(zip(expected, store.file_digests(files), strict=True))
        wrong = [name for name in expected if found[name] != expected[name]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        wrong = [f"{getattr(error, 'filename', None) or path}"]
    if wrong:
        raise UserError(
            f"{folder} is damaged ({wrong[0]} is not as the training wrote it): repeat the command of the training, which "
            f"finds it in the store; if you changed it on purpose, remove {path}"
        )


def linked(source_file: str, target: str) -> None:
    """A hard link where the file system can, otherwise a copy: a pipeline may weigh gigabytes."""
    try:
        os.link(source_file, target)
    except OSError:
        shutil.copy2(source_file, target)
