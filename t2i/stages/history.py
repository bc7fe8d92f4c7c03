"""What the finished stages of a store took and weighed: by them a plan tells what the next ones will."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2i.store import MANIFEST, read_manifest


def manifests(root: Path, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and manifest of every finished stage of a kind, the newest first."""
    paths = (root / name).glob(f"[!.]*/{MANIFEST}")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        if (found := read_manifest(path.parent)) is not None:
            yield path.parent, found


def held(manifest: dict[str, Any]) -> int:
    """Bytes of the files of a stage."""
    return sum(entry["bytes"] for entry in manifest["files"].values())
