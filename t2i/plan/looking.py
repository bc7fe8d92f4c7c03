"""A store that makes nothing and says where each stage is, or would be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i.context import Run
from t2i.stages.stage import Unmade
from t2i.store import Stage as Finished
from t2i.store import Store, addressed, read_manifest


class Dry(Run):
    """A run that writes nothing: no process of it is the one that does."""

    @property
    def main(self) -> bool:
        """Never: who is not the main process leaves no file and tells no story."""
        return False


@dataclass(frozen=True)
class Place:
    """Where a stage is or would be."""

    name: str
    digest: str
    """Empty where it depends on what is still to be made."""
    there: bool
    size: int = 0
    """Bytes in the store."""


class LookingStore(Store):
    """Remembers what it was asked for. Reading what is still to be made raises NotMade."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked_for: list[Place] = []

    def stage(
        self,
        name: str,
        inputs: Mapping[str, str],
        config: Mapping[str, Any],
        version: int,
        build: Callable[[Path], None],
        collective: bool = False,
        resumable: bool = False,
    ) -> Finished:
        """The stage, or one that is not made."""
        digest = addressed(name, inputs, config, version)[1]
        folder = self.root / name / digest
        there = self.sound(folder)
        files = (read_manifest(folder) or {})["files"] if there else {}
        self.asked_for.append(Place(name, digest, there, sum(entry["bytes"] for entry in files.values())))
        return (Finished if there else Unmade)(name, digest, folder, there)
