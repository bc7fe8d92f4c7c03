"""What a run asks of a store, written down at once: task=store keeps it, also when the run is killed later."""

from dataclasses import dataclass, field
from pathlib import Path

ASKED = "stages.txt"
"""In a run folder: every stage that the run asked the store for, `name/digest` a line."""
ELSEWHERE = "elsewhere.txt"
"""In a store: run folders that are not beside it and need stages of it, one a line."""


@dataclass
class Asked:
    """The stages that a run has asked for."""

    folder: Path
    """Of the run."""
    root: Path
    """Of the store."""
    _known: set[tuple[str, str]] = field(default_factory=set)

    def note(self, name: str, digest: str) -> None:
        """That the run needs a stage."""
        if (name, digest) not in self._known:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._known and not self.folder.is_relative_to(self.root.parent):
                self.root.mkdir(parents=True, exist_ok=True)
                with open(self.root / ELSEWHERE, "a", encoding="utf-8") as file:
                    file.write(f"{self.folder}\n")
            self._known.add((name, digest))
            with open(self.folder / ASKED, "a", encoding="utf-8") as file:
                file.write(f"{name}/{digest}\n")
