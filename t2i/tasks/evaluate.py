"""`task=evaluate`: numbers with intervals for the base or the tuned model, or for pictures of any origin, by their definition."""

from t2i.config import Config
from t2i.context import Run
from t2i.data.given.folder import gallery
from t2i.stages.fitting import fit_images, require_judges
from t2i.stages.given import MetricsOfGiven, against
from t2i.stages.goals import Goals
from t2i.stages.metrics import Metrics
from t2i.stages.prepared import Prepared
from t2i.stages.stage import is_there
from t2i.stages.weights import Base, Given, Weights
from t2i.stories import evaluation, given, subject
from t2i.stories.report import write


def stages(config: Config, run: Run) -> Goals:
    """The numbers, and before them the data."""
    if config.pictures_given:
        yield "numbers", [_numbers_of_given(config, run)]
        return
    require_judges(config, run)
    yield "data", [Prepared(config)]
    if is_there(Prepared(config), run):
        fit_images(config, run)
    yield "numbers", [_numbers(config)]


def _numbers(config: Config) -> Metrics:
    return Metrics(config, Given(config))


def _numbers_of_given(config: Config, run: Run) -> MetricsOfGiven:
    return MetricsOfGiven(config, gallery(config.pictures_given[0]), against(config, run))


def evaluate(config: Config, run: Run) -> dict[str, float]:
    """Returns every metric with its interval; leaves `definition.json` and a table beside it, of given pictures report.html."""
    if config.pictures_given:
        judged = _numbers_of_given(config, run).read(run)
        if run.main:
            given.tell_numbers(config, run, judged)
            run.tracker.artifact(write([run.folder], run.folder / "report.html"))
        return judged.result.metrics
    require_judges(config, run)
    fit_images(config, run)
    stage = _numbers(config)
    tuned = stage.weights.find(run)
    measured = stage.read(run)
    evaluation.tell(config, run, "tuned" if tuned else "base", measured)
    if run.main:
        drawing: dict[str, Weights] = {"base": Base(), **({"tuned": stage.weights} if tuned else {})}
        subject.grid(config, run, drawing)
    return measured.result.metrics
