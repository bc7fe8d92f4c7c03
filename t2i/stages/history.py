"""What the finished stages of a store took and weighed: by them a plan tells what the next ones will."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from t2i.store import MANIFEST, read_manifest


def manifests(root: Path, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and manifest of every finished stage of a kind, the newest first."""
    paths = (root / name).glob(f"[!.]*/{MANIFEST}")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        if (found := read_manifest(path.parent)) is not None:
            yield path.parent, found


def size(root: Path, name: str) -> Optional[int]:
    """Bytes of the newest one of a kind; None where there is none."""
    return next((held(found) for _, found in manifests(root, name)), None)


def seconds(root: Path, name: str) -> Optional[float]:
    """What the newest one of a kind took; None where there is none."""
    return next((float(found["seconds"]) for _, found in manifests(root, name) if "seconds" in found), None)


def held(manifest: dict[str, Any]) -> int:
    """Bytes of the files of a stage."""
    return sum(entry["bytes"] for entry in manifest["files"].values())
