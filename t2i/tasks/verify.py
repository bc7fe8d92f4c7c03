"""`task=verify`: check the wiring - shapes, counts, gradients, tuned weights in use - before time is spent on training."""

from t2i.config import Config
from t2i.context import Run
from t2i.stages.goals import Goals
from t2i.stages.weights import Given
from t2i.stages.wiring import Wiring
from t2i.stories import wiring


def stages(config: Config, run: Run) -> Goals:
    """The checks."""
    yield "wiring check", [_checks(config)]


def _checks(config: Config) -> Wiring:
    return Wiring(config, Given(config))


def verify(config: Config, run: Run) -> dict[str, float]:
    """Prints a table of checks; raises UserError that names the first failed one."""
    return wiring.tell(config, run, _checks(config).read(run))
