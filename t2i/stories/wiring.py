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
        from t2i.reporting.console import lines

        columns = ["check", "expected", "found", "result"]
        for line in (*lines(columns, rows), text):
            run.detail(line)
        run.section("Wiring", text, [{"columns": columns, "rows": rows, "caption": ""}])
    require(rows)
    parameters = {f"parameters.{name}": float(size) for name, size in sizes.items()}
    return {"checks": float(len(rows)), "trainable_parameters": float(trainable), **parameters}
