"""`task=report`: one self-contained HTML page about a run (or several)."""

from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.stories.report import newest, sections_of, write


def report(config: Config, run: Run) -> dict[str, float]:
    """Writes `report.html` into this run's folder from the sections that the reported runs left."""
    if not run.main:
        return {}
    folders = [Path(name).expanduser() for name in config.runs] or [newest(Path(config.outputs))]
    for folder in folders:
        if not (folder / "sections.json").exists():
            raise ConfigError(
                f"runs={folder} is no finished run (sections.json is missing); give a run folder below {config.outputs}"
            )
    path = write(folders, run.folder / "report.html")
    run.tracker.artifact(path)
    run.say(f"report: {path}")
    return {"sections": float(sum(len(sections_of(folder)) for folder in folders))}
