"""`sweep_reference`: names the generated set that the cells of a sweep are held against, as a run folder names its stages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i.context import Run
from t2i.stages.generated import Generated
from t2i.stages.stage import Stage, made
from t2i.store import write_json


@dataclass(frozen=True, eq=False)
class SweepReference(Stage):
    """`stages.json`."""

    pictures: Generated

    name = "sweep_reference"

    def inputs(self) -> dict[str, Stage]:
        return {"pictures": self.pictures}

    def hangs_on(self) -> Any:
        return {}

    def build(self, run: Run, folder: Path) -> None:
        digest = made(self.pictures, run).digest
        write_json(folder / "stages.json", {f"generated/{digest[:12]}": {"digest": digest}})
