"""The table of checks of a model and a strategy."""

from typing import Any

from t2i.config import Config
from t2i.context import Run
from t2i.stages.wiring import require

SPOKEN = {"unet": "U-Net", "vae": "VAE"}


def tell(config: Config, run: Run, found: dict[str, Any]) -> dict[str, float]:
    """Prints it and returns its counts; raises UserError that names the first failed check."""
    sizes, trainable, rows, denoiser = found["sizes"], found["trainable"], found["rows"], found["denoiser"]
    order = sorted(sizes, key=lambda name: (name != denoiser, name == "vae"))
    counted = ", ".join(f"{SPOKEN.get(name, name.replace('_', ' '))} {sizes[name]:,}" for name in order)
    text = (
        f"{config.model.name}: {counted} parameters; strategy={config.strategy.kind} trains {trainable:,} "
        f"({100 * trainable / sizes[denoiser]:.3f} % of the {SPOKEN.get(denoiser, denoiser)})."
    )
    if run.main:
        _print(f"{config.model.name} with strategy={config.strategy.kind}", rows)
        run.detail(text)
        columns = ["check", "expected", "found", "result"]
        run.section("Wiring", text, [{"columns": columns, "rows": rows, "caption": ""}])
    require(rows)
    parameters = {f"parameters.{name}": float(size) for name, size in sizes.items()}
    return {"checks": float(len(rows)), "trainable_parameters": float(trainable), **parameters}


def _print(title: str, rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("check", "expected", "found", ""):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 110).print(table)
