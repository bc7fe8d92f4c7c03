"""`wiring`: the table of checks of a model and a strategy - shapes, counts, gradients, tuned weights in use."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from t2i import identity
from t2i.context import Run
from t2i.errors import UserError
from t2i.processes import device_type
from t2i.stages.networks import dtype_of, model_digest, precision_of
from t2i.stages.stage import Address, Stage, made
from t2i.stages.tuned import apply_tuned
from t2i.stages.weights import Base, Weights

CHECKS = "checks.json"
LIBRARIES = ("torch", "diffusers", "transformers", "peft")
"""A new version of one of these can break the wiring, so it is checked again."""


class _Failed(Exception):
    """What was found when not every check went well: nothing that a store should keep, as the code may be mended."""

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__("checks failed")
        self.found = found


@dataclass(frozen=True, eq=False)
class Wiring(Stage):
    """`checks.json`: `rows`, of which the first `declared` compare the model with what its configuration says of it, `sizes`
    and `trainable`.
    """

    weights: Weights = field(default_factory=Base)

    name = "wiring"
    version = 4
    resources = ("model",)
    title = "wiring check"

    def needs(self) -> Sequence[Stage]:
        return self.weights.needs()

    def hangs_on(self) -> Any:
        return [self._slice(), self.weights.hangs_on()]

    def _slice(self) -> dict[str, Any]:
        return {
            "model": identity.model(self.config),
            "strategy": identity.strategy(self.config),
            "precision": precision_of(self.config),
            "device": device_type(),
            "versions": {name: metadata.version(name) for name in LIBRARIES},
        }

    def address(self, run: Run) -> Address:
        digests = {"model": model_digest(self.config, run), **self.config.strategy.inputs()}
        if (tuned := self.weights.find(run)) is not None:
            digests["weights"] = tuned.digest
        return Address(digests, self._slice())

    def build(self, run: Run, folder: Path) -> None:
        from t2i.models.load import load
        from t2i.models.weights import count
        from t2i.sampling import parity
        from t2i.training import wiring

        config, tuned, device = self.config, self.weights.find(run), run.accelerator.device
        models = load(config.model, run.store)
        checks = list(wiring.structure(models, config.model))
        sizes = {name: count(module.parameters()) for name, module in models.modules.items()}
        models.to(device, dtype_of(config))
        drawn = [*parity.conditions(models), *parity.autoencoder(models), *parity.pictures(models)]
        config.strategy.attach(models)
        models.to(device, dtype_of(config))
        checks += wiring.hand_overs(models, config.model)
        checks += wiring.text_key_layouts(models)
        declared = len(checks)
        checks += drawn
        checks += wiring.conditions(models)
        checks += wiring.gradients(models, config.strategy)
        checks += wiring.adapter(models, config.strategy)
        trainable = count(config.strategy.trainable(models).values())
        checks += wiring.round_trip(
            models, config.strategy, lambda: load(config.model, run.store).to(device, dtype_of(config))
        )
        if tuned is not None:
            checks += wiring.placed(load(config.model, run.store), lambda models: apply_tuned(models, tuned))
        rows = [[check.name, check.expected, check.found, "ok" if check.ok else "FAILED"] for check in checks]
        facts = {"sizes": sizes, "trainable": trainable, "denoiser": models.family.denoiser}
        found = {**facts, "rows": rows, "declared": declared}
        if any(row[3] != "ok" for row in rows):
            raise _Failed(found)
        (folder / CHECKS).write_text(json.dumps(found, indent=2), encoding="utf-8")

    def read(self, run: Run) -> dict[str, Any]:
        """The checks, done unless the store has them; failed ones too, which are not kept."""
        try:
            path = made(self, run).path / CHECKS
        except _Failed as failed:
            return failed.found
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


def require(rows: Sequence[Sequence[str]]) -> None:
    """Raise UserError that names the first check that failed, if any."""
    failed = [row for row in rows if row[3] != "ok"]
    if failed:
        name, expected, value, _ = failed[0]
        raise UserError(
            f"{len(failed)} of {len(rows)} checks failed; the first: {name} must be {expected}, found {value}"
        )
