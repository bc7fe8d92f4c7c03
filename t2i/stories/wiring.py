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
        from t2i.reporting.console import lines

        columns = ["check", "expected", "found", "result"]
        for line in (*lines(columns, rows), text):
            run.detail(line)
        run.section("Wiring", text, [{"columns": columns, "rows": rows, "caption": ""}])
    require(rows)
    parameters = {f"parameters.{name}": float(size) for name, size in sizes.items()}
    return {"checks": float(len(rows)), "trainable_parameters": float(trainable), **parameters}
