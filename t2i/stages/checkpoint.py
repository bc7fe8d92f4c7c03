"""`checkpoint`: the weights of a training at one step, in the form in which a finished training leaves its own."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from t2i import identity
from t2i.config import as_dict
from t2i.context import Run
from t2i.errors import UserError
from t2i.stages.networks import model_digest
from t2i.stages.stage import Address, Stage, is_there, made
from t2i.stages.training import WEIGHTS, Training
from t2i.stages.tuned import Tuned, tuned_digest
from t2i.stages.weights import Weights
from t2i.store import MANIFEST, sha256_file

FOLDER = "checkpoints"
"""Of a training and of a run folder: what was kept of its steps."""


@dataclass(frozen=True, eq=False)
class Checkpoint(Stage):
    """`weights/`: what changed by this step; their moving average, where the training keeps one."""

    step: int
    origin: "Training | Path"
    """What keeps the checkpoint: a training of this configuration, or the folder of checkpoints of a finished run."""

    name = "checkpoint"
    resources = ("model",)

    def needs(self) -> list[Stage]:
        return [self.origin] if isinstance(self.origin, Training) else []

    def hangs_on(self) -> Any:
        folder = None if isinstance(self.origin, Training) else str(self.origin)
        return [as_dict(self.config.model), identity.strategy(self.config), self.step, folder]

    def folder(self, run: Run) -> Path:
        """Of the checkpoint, with its manifest."""
        above = made(self.origin, run).path / FOLDER if isinstance(self.origin, Training) else self.origin
        return above / f"step_{self.step:08d}"

    def address(self, run: Run) -> Address:
        digests = {"model": model_digest(self.config, run), "checkpoint": sha256_file(self.folder(run) / MANIFEST)}
        return Address(digests, {"strategy": identity.strategy(self.config)})

    def wanted(self, run: Run) -> bool:
        """Whether it was kept: a training that was finished before milestones were asked for has none."""
        if isinstance(self.origin, Training) and not is_there(self.origin, run):
            return True
        return (self.folder(run) / MANIFEST).exists()

    def build(self, run: Run, folder: Path) -> None:
        import torch

        from t2i.models.load import load
        from t2i.training import noise
        from t2i.training.resuming import checkpoints

        config, path = self.config, self.folder(run)
        try:
            found = checkpoints.read(path)
        except Exception as error:  # a damaged file fails in any of the ways of its format
            raise UserError(
                f"the checkpoint {path} is damaged ({checkpoints.reason(error)}); remove it, and the curve goes without it"
            ) from error
        models = load(config.model, run.store)
        noise.settle(config.training, models)
        config.strategy.attach(models)
        parameters, values = config.strategy.trainable(models), found.average or found.parameters
        if {name: own.shape for name, own in parameters.items()} != {name: own.shape for name, own in values.items()}:
            raise UserError(
                f"the checkpoint {path} holds other parameters than strategy={config.strategy.kind} trains on "
                f"model={config.model.name} now; train again, with milestones"
            )
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(values[name])
        shutil.rmtree(folder / WEIGHTS, ignore_errors=True)
        (folder / WEIGHTS).mkdir()
        config.strategy.save(models, folder / WEIGHTS)


@dataclass(frozen=True)
class AtStep(Weights):
    """What a training had tuned by a step."""

    checkpoint: Checkpoint

    def needs(self) -> list[Stage]:
        return [self.checkpoint]

    def hangs_on(self) -> Any:
        return "checkpoint"

    def find(self, run: Run) -> Optional[Tuned]:
        folder = made(self.checkpoint, run).path / WEIGHTS
        return run.kept("tuned", str(folder), lambda: Tuned(folder, run.tell(lambda: tuned_digest(folder, run))))
