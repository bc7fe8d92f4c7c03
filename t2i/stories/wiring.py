"""The table of checks of a model and a strategy."""

from typing import Any

from t2i.config import Config
from t2i.context import Run
from t2i.stages.wiring import require


def tell(config: Config, run: Run, found: dict[str, Any]) -> dict[str, float]:
    """Prints it and returns its counts; raises UserError that names the first failed check."""
    sizes, trainable, rows = found["sizes"], found["trainable"], found["rows"]
    text = (
        f"{config.model.name}: U-Net {sizes['unet']:,}, text encoder {sizes['text_encoder']:,}, VAE {sizes['vae']:,} parameters; "
        f"strategy={config.strategy.kind} trains {trainable:,} ({100 * trainable / sizes['unet']:.3f} % of the U-Net)."
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
