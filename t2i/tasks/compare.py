"""`task=compare runs=[a,b]`: is the second run's model better than the first's, by which metrics, and how sure is that?"""

from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.stages.comparison import Comparison, Elsewhere
from t2i.stages.evaluated import evaluated
from t2i.stories.report import write
from t2i.stories.verdict import tell


def compare(config: Config, run: Run) -> dict[str, float]:
    """Returns each metric's change (b minus a) with interval, p values and smallest detectable change; leaves report.html.

    The runs: task=evaluate, or task=pipeline, of which the tuned model counts. Given one pipeline run alone, its base
    and its tuned model are compared. Raises UserError that names the fields in which the two definitions differ.
    """
    folders = [Path(name).expanduser() for name in config.runs]
    if len(folders) not in (1, 2):
        raise ConfigError(
            f"task=compare compares two runs and {len(folders)} are given; type runs=[<run folder>,<run folder>]"
        )
    models = [evaluated(folder, run) for folder in folders]
    if len(models) == 1 and len(models[0]) == 1:
        raise ConfigError(
            f"runs=[{folders[0]}] alone holds one model; give a second run, or a run of task=pipeline, which has two"
        )
    first, second = models[0] if len(models) == 1 else (models[0][-1], models[1][-1])
    verdict = Comparison(config, *(Elsewhere(config, own.numbers) for own in (first, second))).read(run)
    if run.main:
        names = ("base", "tuned") if len(folders) == 1 else _names(folders)
        tell(config, run, verdict, first, second, names, "Comparison")
        path = write([run.folder], run.folder / "report.html")
        run.tracker.artifact(path)
        run.say(f"report: {path}")
    return verdict.numbers


def _names(folders: list[Path]) -> tuple[str, str]:
    """What the two runs are called: their folders' names, told apart if they are one."""
    first, second = (folder.name for folder in folders)
    return (first, second) if first != second else (f"{first} (1)", f"{second} (2)")
