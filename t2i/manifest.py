"""What a finished stage says of itself, and whether it is as it was written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from t2i import digests
from t2i.digests import digest_of, sha256_file
from t2i.errors import UserError
from t2i.progress import progress

MANIFEST = "manifest.json"
SEAL = "seal"
"""In a manifest: the digest of all else that it says."""


def addressed(
    name: str, inputs: Mapping[str, str], config: Mapping[str, Any], version: int
) -> tuple[dict[str, Any], str]:
    """What a stage is known by, and the digest of it that names its folder."""
    # As it will be read again: a manifest whose address gives another digest was damaged.
    address = json.loads(
        json.dumps({"stage": name, "inputs": dict(inputs), "config": dict(config), "version": version})
    )
    return address, digest_of(address)[:32]


def read_manifest(folder: Path) -> Optional[dict[str, Any]]:
    """What a finished stage says of itself; None where there is none that can be read, or one of another folder."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        address = {key: found[key] for key in ("stage", "inputs", "config", "version")}
        seal = found.pop(SEAL, None)  # stages of before it have none
        sound = isinstance(found["files"], dict) and digest_of(address)[:32] == folder.name
        sound = sound and seal in (None, digest_of(found))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if sound else None


def damage(folder: Path, memory: Optional[digests.Memory] = None) -> Optional[list[str]]:
    """The files of a finished stage whose bytes are not those that its manifest names; None where no manifest can be read.

    Every file is read once; then it is remembered, and read again when the stamp of one of them has changed.
    """
    found = read_manifest(folder)
    if found is None:
        return None
    files: dict[str, Any] = found["files"]
    memory = memory or digests.Memory(folder.parent.parent)
    try:
        stamps = {name: digests.stamp(folder / name) for name in (MANIFEST, *files)}
    except (OSError, ValueError):  # one is gone, or its name in the manifest is none
        stamps = {}
    name, fingerprint = f"stage {digests.name_of(folder)}", digest_of([*stamps.items()])
    if stamps and (name, fingerprint) in _SOUND:
        return []
    if not stamps or memory.known([(name, fingerprint)]) == [None]:
        wrong = unlike(folder)
        if wrong != []:
            return wrong
        if not digests.settled(stamps.values()):
            return []
        memory.remember([(name, fingerprint, "sound")])
    _SOUND.add((name, fingerprint))
    return []


def unlike(folder: Path) -> Optional[list[str]]:
    """As `damage`, and whatever is remembered, every byte is read."""
    found = read_manifest(folder)
    if found is None:
        return None
    files: dict[str, Any] = found["files"]
    label = f"checking {folder.parent.name} {folder.name[:12]}"
    return [file for file in progress(list(files), label, "file") if not _as_written(folder / file, files[file])]


_SOUND: set[tuple[str, str]] = set()
"""Stages that this process has checked, each with the stamps of its files."""


def _as_written(path: Path, entry: Any) -> bool:
    try:
        return bool(path.stat().st_size == entry["bytes"] and sha256_file(path) == entry["sha256"])
    except (OSError, ValueError, KeyError, TypeError):  # not there, or an entry of a manifest that was damaged itself
        return False


def require_sound(folder: Path) -> None:
    """UserError when a finished stage that cannot be made again here, being read on its own, is gone or damaged."""
    wrong = damage(folder)
    if wrong != []:
        raise UserError(f"{folder} is damaged ({told(wrong)}): remove this folder and repeat the run that made it")


def told(wrong: Optional[list[str]]) -> str:
    """What `damage` found, in words."""
    if wrong is None:
        return f"{MANIFEST} is missing or cannot be read"
    more = f" and {len(wrong) - 1} more files" if len(wrong) > 1 else ""
    return f"{wrong[0]}{more} not as written"
