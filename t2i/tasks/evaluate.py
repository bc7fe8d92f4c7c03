"""`task=evaluate`: numbers with intervals for the base or the tuned model, by their definition."""

from t2i.config import Config
from t2i.context import Run
from t2i.stages.fitting import fit_images
from t2i.stages.goals import Goals
from t2i.stages.metrics import Metrics
from t2i.stages.prepared import Prepared
from t2i.stages.stage import is_there
from t2i.stages.weights import Given
from t2i.stories import evaluation


def stages(config: Config, run: Run) -> Goals:
    """The numbers, and before them the data."""
    yield "data", [Prepared(config)]
    if is_there(Prepared(config), run):
        fit_images(config, run)
    yield "numbers", [_numbers(config)]


def _numbers(config: Config) -> Metrics:
    return Metrics(config, Given(config))


def evaluate(config: Config, run: Run) -> dict[str, float]:
    """Returns every metric with its interval; leaves `definition.json` and a table beside it."""
    fit_images(config, run)
    stage = _numbers(config)
    tuned = stage.weights.find(run)
    measured = stage.read(run)
    evaluation.tell(config, run, "tuned" if tuned else "base", measured)
    return measured.result.metrics
