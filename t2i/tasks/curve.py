"""`task=curve run=<run>`: every checkpoint that a training kept, measured, and at which one it should have stopped."""

from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.record import configured
from t2i.stages.comparison import Comparison
from t2i.stages.fitting import fit_images, require_judges
from t2i.stages.goals import Goals
from t2i.stages.milestones import Point, config_of, measuring, of_run
from t2i.stages.prepared import Prepared
from t2i.stages.stage import is_there
from t2i.stories.curve import told
from t2i.stories.report import write


def stages(config: Config, run: Run) -> Goals:
    """The numbers of every checkpoint, and how they differ from the base model's."""
    config, points = _points(config, run)
    yield "data", [Prepared(config)]
    if is_there(Prepared(config), run):
        fit_images(config, run)
    yield "base", [points[0].numbers]
    for point in points[1:]:
        yield f"step {point.step:,}", [point.numbers]
    yield "comparison", [Comparison(config, points[0].numbers, tuple(point.numbers for point in points[1:]))]


def curve(config: Config, run: Run) -> dict[str, float]:
    """Returns the best step, where to stop, and each checkpoint's numbers with their change; leaves report.html.

    Data, model and training are those of the run; so is how it is measured, but for what is typed. Raises ConfigError for a
    run without checkpoints, and for a typed key of the training.
    """
    config, points = _points(config, run)
    require_judges(config, run)
    fit_images(config, run)
    if run.main:
        configured(run.folder, config)
    numbers = told(config, run, points, alone=True)
    if run.main:
        path = write([run.folder], run.folder / "report.html")
        run.tracker.artifact(path)
        run.say(f"report: {path}")
    return numbers


def _points(config: Config, run: Run) -> tuple[Config, list[Point]]:
    own = measuring(config_of(config, run))
    assert config.run is not None
    return own, of_run(own, Path(config.run).expanduser())
