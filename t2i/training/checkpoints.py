"""Checkpoints that exist whole or not at all, and are never trusted without their checksums.

`accelerate`'s own are neither atomic nor verified; a run that was killed while saving lost everything.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import torch
from safetensors.torch import load_file, save_file

from t2i.errors import UserError
from t2i.store import MANIFEST, sha256_file, sync_tree, sync_tree_entry, write_json

log = logging.getLogger("t2i")


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on: tensors of the trainable parameters, optimizer state, and small facts."""

    step: int
    parameters: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    facts: dict[str, Any]


def save(
    folder: Path,
    step: int,
    parameters: Mapping[str, torch.Tensor],
    optimizer: Mapping[str, Any],
    facts: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write `folder/step_<step>`; older ones beyond `keep` go only after the new one is in place.

    Raises UserError when the disk is full; the previous checkpoints stay.
    """
    final = folder / f"step_{step:08d}"
    temporary = folder / f".step_{step:08d}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        save_file(
            {name: t.detach().cpu().contiguous() for name, t in parameters.items()},
            temporary / "parameters.safetensors",
        )
        torch.save(dict(optimizer), temporary / "optimizer.pt")
        write_json(temporary / "facts.json", {"step": step, **facts})
        files = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
        write_json(temporary / MANIFEST, files)
        sync_tree(temporary)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(
            f"the checkpoint of step {step} could not be written ({error}); free space below {folder} and repeat"
        ) from error
    shutil.rmtree(final, ignore_errors=True)
    os.rename(temporary, final)
    sync_tree_entry(folder)
    for old in steps(folder)[:-keep]:
        shutil.rmtree(folder / f"step_{old:08d}")
    return final


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, ascending."""
    return sorted(int(path.name.removeprefix("step_")) for path in folder.glob("step_*"))


def newest(folder: Path) -> Optional[Checkpoint]:
    """The newest intact checkpoint; a damaged one is named in a warning and the one before it is used."""
    for step in reversed(steps(folder)):
        path = folder / f"step_{step:08d}"
        problem = damage(path)
        if problem is None:
            return Checkpoint(
                step,
                load_file(path / "parameters.safetensors"),
                torch.load(path / "optimizer.pt", weights_only=True, map_location="cpu"),
                json.loads((path / "facts.json").read_text(encoding="utf-8")),
            )
        log.warning("checkpoint %s is damaged (%s); trying the one before it", path, problem)
    return None


def damage(path: Path) -> Optional[str]:
    """What is wrong with a checkpoint folder, by its manifest; None when every byte is as written."""
    try:
        files = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name in ("parameters.safetensors", "optimizer.pt", "facts.json"):
            if name not in files:
                return f"{name} is not in its manifest"
        for name, digest in files.items():
            if sha256_file(path / name) != digest:
                return f"{name} has changed"
    except (OSError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None
