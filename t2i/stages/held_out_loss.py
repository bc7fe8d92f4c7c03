"""`held_out_loss`: the loss of held-out pictures at eight equidistant times, of a base or a tuned model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i import identity
from t2i.config import as_dict
from t2i.context import Run
from t2i.processes import rank, world_size
from t2i.stages.networks import load_models, model_digest
from t2i.stages.prepared import Prepared
from t2i.stages.stage import Address, Stage, made
from t2i.stages.weights import Base, Weights
from t2i.store import write_json

if TYPE_CHECKING:
    import numpy as np

METRIC = "held_out_loss@8"
"""The metric that reads it."""


@dataclass(frozen=True, eq=False)
class HeldOutLoss(Stage):
    """`losses.npy`, float64 (pictures, 8), of the first `eval.images` held-out pictures, or of all where there are fewer; and
    `definition.json`.
    """

    weights: Weights = field(default_factory=Base)

    name = "held_out_loss"
    collective = True
    resources = ("model",)
    work = "drawing"

    def needs(self) -> Sequence[Stage]:
        return [Prepared(self.config), *self.weights.needs()]

    def inputs(self) -> dict[str, Stage]:
        return {"data": Prepared(self.config)}

    def hangs_on(self) -> Any:
        own = [self.config.eval.images, identity.held_out_loss(self.config), as_dict(self.config.model)]
        return [*own, self.weights.hangs_on()]

    def _count(self, run: Run) -> int:
        return min(self.config.eval.images, len(Prepared(self.config).read(run).split("held_out")))

    def address(self, run: Run) -> Address:
        tuned = self.weights.find(run)
        digests = {"model": model_digest(self.config, run), "weights": tuned.digest if tuned else ""}
        return Address(digests, {**identity.held_out_loss(self.config), "pictures": self._count(run)})

    def build(self, run: Run, folder: Path) -> None:
        import numpy as np
        import torch

        from t2i.training.held_out import TIMES, definition, held_out_losses

        models, count = load_models(self.config, run, self.weights.find(run)), self._count(run)
        split, seed = Prepared(self.config).read(run).split("held_out"), self.config.eval.seed
        own = list(range(rank(), count, world_size()))
        found = torch.zeros(count, TIMES, dtype=torch.float64, device=run.accelerator.device)
        found[own] = torch.from_numpy(held_out_losses(models, split, own, seed)).to(found.device)
        summed = run.accelerator.reduce(found, "sum").cpu().numpy()
        if run.main:
            np.save(folder / "losses.npy", summed)
            write_json(folder / "definition.json", definition(models, split, count, seed))

    def read(self, run: Run) -> "tuple[np.ndarray, dict[str, Any]]":
        """The losses, and what defines them."""
        import numpy as np

        folder = made(self, run).path
        about: dict[str, Any] = json.loads((folder / "definition.json").read_text(encoding="utf-8"))
        return np.load(folder / "losses.npy", allow_pickle=False), about
