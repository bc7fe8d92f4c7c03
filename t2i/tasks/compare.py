"""`task=compare runs=[a,b,...]`, `task=compare pictures=[a,b,...]`: is each better than the first, by what, how sure is that?"""

from t2i.config import Config
from t2i.context import Run
from t2i.stages.comparison import Comparison
from t2i.stages.sides import of_pictures, of_runs
from t2i.stories import compared
from t2i.stories.report import write


def compare(config: Config, run: Run) -> dict[str, float]:
    """Returns each metric's change (minus the first's) with interval, p values and smallest detectable change, of several with
    the name of each in front; leaves report.html.

    The runs: task=evaluate, or task=pipeline, of which the tuned model counts. Given one pipeline run alone, its base
    and its tuned model are compared. Raises UserError that names the fields in which two definitions differ.
    """
    found = None
    if config.pictures_given:
        sides, found = of_pictures(config, run)
    else:
        sides = of_runs(config, run)
    first, *others = sides
    paired = found is None or found.paired
    verdicts = Comparison(config, first.numbers, tuple(side.numbers for side in others), paired).read(run)
    if run.main:
        compared.tell(config, run, sides, verdicts, found)
        path = write([run.folder], run.folder / "report.html")
        run.tracker.artifact(path)
        run.say(f"report: {path}")
    if len(others) == 1:
        return verdicts[0].numbers
    named = zip(others, verdicts, strict=True)
    return {f"{side.name}/{key}": value for side, own in named for key, value in own.numbers.items()}
