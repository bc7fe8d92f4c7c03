"""`pipeline`: the exported pipeline of a training that was finished without one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from t2i.config import as_dict
from t2i.context import Run
from t2i.processes import device_type
from t2i.stages.exported import export_pipeline
from t2i.stages.networks import dtype_of, model_digest, precision_of
from t2i.stages.stage import Address, Stage, is_there, made
from t2i.stages.training import Trained, Training
from t2i.stages.tuned import apply_tuned
from t2i.store import write_json

FOLDER = "pipeline"


@dataclass(frozen=True, eq=False)
class Pipeline(Stage):
    """`pipeline/` in diffusers' layout, and `reload.json`: how far a picture of it is from one of the networks in memory."""

    training: Training

    name = "pipeline"
    resources = ("model",)

    def needs(self) -> list[Stage]:
        return [self.training]

    def hangs_on(self) -> Any:
        return [as_dict(self.config.model), precision_of(self.config), device_type()]

    def address(self, run: Run) -> Address:
        digests = {"model": model_digest(self.config, run), "weights": Trained(self.training).find(run).digest}
        return Address(digests, {"precision": precision_of(self.config), "device": device_type()})

    def wanted(self, run: Run) -> bool:
        """Whether the training was finished without one: what is still to be trained makes its own."""
        asked = self.config.training.export_pipeline and is_there(self.training, run)
        return asked and not (made(self.training, run).path / FOLDER).exists()

    def build(self, run: Run, folder: Path) -> None:
        from t2i.models.load import load

        tuned = Trained(self.training).find(run)
        models = load(self.config.model, run.store)
        apply_tuned(models, tuned)
        models.to(run.accelerator.device, dtype_of(self.config))
        difference = export_pipeline(self.config, run, models, tuned.folder, folder / FOLDER)
        write_json(folder / "reload.json", {"reload_max_difference": difference})


def exported(training: Training, run: Run) -> tuple[Optional[Path], dict[str, float]]:
    """The folder of the whole pipeline, where `training.export_pipeline` asks for it, and how far a picture of it is from
    one of the networks in memory. Made now from the weights of a training that was finished without.
    """
    stage = Pipeline(training.config, training)
    if not training.config.training.export_pipeline:
        return None, {}
    if not run.tell(lambda: stage.wanted(run)):
        return made(training, run).path / FOLDER, {}
    folder = made(stage, run).path
    return folder / FOLDER, json.loads((folder / "reload.json").read_text(encoding="utf-8"))
