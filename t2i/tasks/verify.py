"""`task=verify`: check the wiring - shapes, counts, gradients, tuned weights in use - before time is spent on training."""

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

from t2i.config import Config, as_dict
from t2i.context import Run, device_type
from t2i.errors import UserError
from t2i.stages.shared import dtype_of, model_digest, precision_of
from t2i.stages.tuned import Tuned, apply_tuned, find_tuned

VERSION = 3
CHECKS = "checks.json"
LIBRARIES = ("torch", "diffusers", "transformers", "peft")
"""A new version of one of these can break the wiring, so it is checked again."""


class _Failed(Exception):
    """What was found when not every check went well: nothing that a store should keep, as the code may be mended."""

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__("checks failed")
        self.found = found


def verify(config: Config, run: Run) -> dict[str, float]:
    """Prints a table of checks; raises UserError that names the first failed one."""
    found = checked(config, run, find_tuned(config, run))
    sizes, trainable, rows = found["sizes"], found["trainable"], found["rows"]
    text = (
        f"{config.model.name}: U-Net {sizes['unet']:,}, text encoder {sizes['text_encoder']:,}, VAE {sizes['vae']:,} parameters; "
        f"strategy={config.strategy.kind} trains {trainable:,} ({100 * trainable / sizes['unet']:.3f} % of the U-Net)."
    )
    if run.main:
        shown = [[f"{int(cell):,}" if cell.isdecimal() else cell for cell in row] for row in rows]
        _print(f"{config.model.name} with strategy={config.strategy.kind}", shown)
        run.say(text)
        columns = ["check", "expected", "found", "result"]
        run.section("Wiring", text, [{"columns": columns, "rows": shown, "caption": ""}])
    require(rows)
    parameters = {f"parameters.{name}": float(size) for name, size in sizes.items()}
    return {"checks": float(len(rows)), "trainable_parameters": float(trainable), **parameters}


def checked(config: Config, run: Run, tuned: Optional[Tuned] = None) -> dict[str, Any]:
    """The checks of this model and strategy, done unless the store has them: `rows`, of which the first `declared` compare
    the model with what its configuration says of it, `sizes` and `trainable`.
    """
    address = {
        "model": as_dict(config.model),
        "strategy": as_dict(config.strategy),
        "precision": precision_of(config),
        "device": device_type(),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
    }
    inputs = {"model": model_digest(config, run), **config.strategy.inputs()}
    if tuned is not None:
        inputs["weights"] = tuned.digest
    try:
        stage = run.stage(
            "wiring", inputs, address, VERSION, lambda folder: _check(config, run, folder / CHECKS, tuned)
        )
    except _Failed as failed:
        return failed.found
    found: dict[str, Any] = json.loads((stage.path / CHECKS).read_text(encoding="utf-8"))
    return found


def require(rows: Sequence[Sequence[str]]) -> None:
    """Raise UserError that names the first check that failed, if any."""
    failed = [row for row in rows if row[3] != "ok"]
    if failed:
        name, expected, value, _ = failed[0]
        raise UserError(
            f"{len(failed)} of {len(rows)} checks failed; the first: {name} must be {expected}, found {value}"
        )


def _check(config: Config, run: Run, path: Path, tuned: Optional[Tuned]) -> None:
    from t2i.models.load import count, load
    from t2i.training import wiring

    device = run.accelerator.device
    models = load(config.model, run.store)
    checks = list(wiring.structure(models, config.model))
    sizes = {name: count(module.parameters()) for name, module in models.modules.items()}
    config.strategy.attach(models)
    models.to(device, dtype_of(config))
    checks += wiring.hand_overs(models, config.model)
    checks += wiring.text_key_layouts(models)
    declared = len(checks)
    checks += wiring.gradients(models, config.strategy)
    checks += wiring.adapter(models, config.strategy)
    trainable = count(config.strategy.trainable(models).values())
    checks += wiring.round_trip(
        models, config.strategy, lambda: load(config.model, run.store).to(device, dtype_of(config))
    )
    if tuned is not None:
        checks += wiring.placed(load(config.model, run.store), lambda models: apply_tuned(models, tuned))
    rows = [[check.name, check.expected, check.found, "ok" if check.ok else "FAILED"] for check in checks]
    found = {"sizes": sizes, "trainable": trainable, "rows": rows, "declared": declared}
    if any(row[3] != "ok" for row in rows):
        raise _Failed(found)
    path.write_text(json.dumps(found, indent=2), encoding="utf-8")


def _print(title: str, rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("check", "expected", "found", ""):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 110).print(table)
