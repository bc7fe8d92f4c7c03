"""Checkpoints that exist whole or not at all, and are never trusted without their checksums.

`accelerate`'s own are neither atomic nor verified; a run that was killed while saving lost everything.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from t2i.errors import UserError
from t2i.store import MANIFEST, sha256_file, sync_tree, sync_tree_entry, write_json

log = logging.getLogger("t2i")
AVERAGE = "average.safetensors"
FILES = ("parameters.safetensors", "optimizer.pt", "facts.json")


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on: tensors of the trainable parameters, optimizer state, and small facts."""

    step: int
    parameters: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    facts: dict[str, Any]
    average: dict[str, torch.Tensor]
    """The moving average of the parameters; empty when the training keeps none."""


def save(
    folder: Path,
    step: int,
    parameters: Mapping[str, torch.Tensor],
    optimizer: Mapping[str, Any],
    facts: Mapping[str, Any],
    keep: int,
    average: Mapping[str, torch.Tensor] | None = None,
    protect: Collection[int] = (),
) -> Path:
    """Write `folder/step_<step>`; only when it is in place, keep it and those before it, `keep` together.

    The steps `protect` (the best one, milestones) stay too. Later ones go: they were damaged, so the training went on
    from an earlier one. Raises UserError when the disk is full; the previous checkpoints stay.
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
        if average:
            save_file({name: t.detach().cpu().contiguous() for name, t in average.items()}, temporary / AVERAGE)
        torch.save(dict(optimizer), temporary / "optimizer.pt")
        write_json(temporary / "facts.json", {"step": step, "average": bool(average), **facts})
        files = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
        write_json(temporary / MANIFEST, files)
        sync_tree(temporary)
        shutil.rmtree(final, ignore_errors=True)
        os.rename(temporary, final)
        sync_tree_entry(folder)
    except (OSError, RuntimeError, SafetensorError) as error:  # a full disk by the names that the libraries give it
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(
            f"the checkpoint of step {step} could not be written ({reason(error)}); free space below {folder} and repeat"
        ) from error
    found = steps(folder)
    kept = [other for other in found if other <= step][-keep:]
    for other in set(found) - set(kept) - {other for other in protect if other <= step}:
        shutil.rmtree(folder / f"step_{other:08d}")
    return final


class Writer:
    """Saves checkpoints; in the background, the training goes on while the last one's copy is on its way to the disk.

    An error of a background save is raised by the next call. A run that is killed meanwhile loses what it did since the
    checkpoint before.
    """

    def __init__(self, background: bool) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint") if background else None
        self._pending: Future[Path] | None = None

    def save(
        self,
        folder: Path,
        step: int,
        parameters: Mapping[str, torch.Tensor],
        optimizer: Mapping[str, Any],
        facts: Mapping[str, Any],
        *rest: Any,
    ) -> None:
        """As the function `save`, whose arguments it takes."""
        self.wait()
        given = (parameters, optimizer, facts, *rest)
        self.hand_over(folder, step, *(given if self._pool is None else map(_copied, given)))

    def hand_over(self, folder: Path, step: int, *given: Any) -> None:
        """The same of tensors that are nobody else's and will not change."""
        self.wait()
        if self._pool is None:
            save(folder, step, *given)
        else:
            self._pending = self._pool.submit(save, folder, step, *given)

    def wait(self) -> None:
        """Until everything is on the disk."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def _copied(value: Any) -> Any:
    """A copy that the training cannot change any more, its tensors on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, ascending."""
    names = (re.fullmatch(r"step_(\d{8,})", path.name) for path in folder.glob("step_*"))
    return sorted(int(name[1]) for name in names if name)


def newest(folder: Path, before: Optional[int] = None) -> Optional[Checkpoint]:
    """The newest intact checkpoint, of a step below `before`; a damaged one is named in a warning and the one before it is
    used.
    """
    for step in reversed([step for step in steps(folder) if before is None or step < before]):
        path = folder / f"step_{step:08d}"
        try:
            return read(path)
        except Exception as error:  # whatever is wrong with it, the one before may be whole
            log.warning("checkpoint %s is damaged (%s); trying the one before it", path, reason(error))
    return None


def intact(path: Path) -> bool:
    """Whether a checkpoint is there, and every byte as its manifest says."""
    try:
        _check(path)
    except Exception as error:  # whatever is wrong with it
        log.warning("checkpoint %s is damaged (%s)", path, reason(error))
        return False
    return True


def reason(error: Exception) -> str:
    """What is wrong with a checkpoint, in a few words."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def named(path: Path) -> Path:
    """The checkpoint's folder that a path means: itself, or the newest below it or below its `checkpoints`.

    Raises UserError when there is none.
    """
    for folder in (path, path / "checkpoints"):
        if (folder / MANIFEST).exists() and folder.name.startswith("step_"):
            return folder
        if found := steps(folder):
            return folder / f"step_{found[-1]:08d}"
    raise UserError(
        f"{path} holds no checkpoint; give a run folder whose training kept milestones (training.milestones=[...]), "
        "or a folder step_<n>"
    )


def start_from(path: Path, identity: Mapping[str, Any], force: bool) -> Checkpoint:
    """The checkpoint at `path`; UserError when it is damaged, or - unless forced - of another configuration."""
    try:
        found = read(path)
    except Exception as error:  # a damaged file fails in any of the ways of its format
        raise UserError(f"the checkpoint {path} is damaged ({reason(error)}); give another one") from error
    differing = differences(found.facts["identity"], identity)
    if differing and not force:
        raise UserError(
            f"the checkpoint {path} was written under another configuration: {', '.join(differing.values())}; repeat its "
            "configuration, or start from it all the same with training.resume_force=true"
        )
    return found


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, str]:
    """By key: `key (value there, value here)` of what differs between two configurations as flat JSON values."""
    return {
        key: f"{key} ({theirs.get(key)} there, {ours.get(key)} here)"
        for key in sorted({*theirs, *ours})
        if theirs.get(key) != ours.get(key)
    }


def read(path: Path) -> Checkpoint:
    """One checkpoint; raises an error unless every byte is as its manifest says."""
    _check(path)
    facts = json.loads((path / "facts.json").read_text(encoding="utf-8"))
    if facts.get("average") and not (path / AVERAGE).exists():
        raise ValueError(f"{AVERAGE} is missing")
    return Checkpoint(
        facts["step"],
        load_file(path / "parameters.safetensors"),
        torch.load(path / "optimizer.pt", weights_only=True, map_location="cpu", mmap=True),
        facts,
        load_file(path / AVERAGE) if (path / AVERAGE).exists() else {},
    )


def _check(path: Path) -> None:
    """Raise an error unless every byte of a checkpoint is as its manifest says."""
    files = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    for name in FILES:
        if name not in files:
            raise ValueError(f"{name} is not in its manifest")
    for name in files:
        if sha256_file(path / name) != files[name]:
            raise ValueError(f"{name} has changed")
