"""`task=export run=<run> format=diffusers|single_file|kohya|peft|weights`: tuned weights as other programs read them.

`weights=` in place of `run=` exports what came from elsewhere, and neither of them the base model: so it also converts.
"""

from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.stages import exports
from t2i.stages.export_card import export_card
from t2i.stages.exported import difference, drawn
from t2i.stages.tuned import apply_tuned, find_tuned

FOLDER = "export"


def export(config: Config, run: Run) -> dict[str, float]:
    """Leaves `export/` in the run folder: the files and a model card; returns how far a picture of theirs is from ours.

    Raises ConfigError before anything is loaded for a format that cannot hold these weights.
    """
    origin = Path(config.run).expanduser() if config.run is not None else None
    config = exports.of_run(config, origin) if origin is not None else config
    tuned = find_tuned(config, run)
    exports.refuse(config, tuned)
    from t2i.models.load import load

    models = load(config.model, run.store)
    if tuned is not None:
        apply_tuned(models, tuned)
    numbers: dict[str, float] = {}
    if run.main:
        target = run.folder / FOLDER
        target.mkdir(parents=True)
        ours = drawn(models)
        written = exports.write(config, run, models, tuned, target)
        numbers["reload_max_difference"] = difference(ours, exports.read_back(config, run, written))
        (target / "README.md").write_text(export_card(config, run, tuned, origin, written, numbers), encoding="utf-8")
        files = [path for path in target.rglob("*") if path.is_file()]
        numbers |= {"files": float(len(files)), "bytes": float(sum(path.stat().st_size for path in files))}
        run.say(
            f"exported: {written.path} ({numbers['bytes'] / 1e6:.1f} MB; read back, a picture differs by "
            f"{numbers['reload_max_difference']:g} of 255 grey levels)"
        )
    return numbers
