"""What tuning cost where it was not asked for: both models again, on captions of another data set."""

from dataclasses import replace

from t2i.config import Config, composed
from t2i.context import Run
from t2i.stages.prepared import Prepared, data_of
from t2i.stages.stage import is_there

FEWER = 0.4
"""Share of `eval.images` that are drawn there: it is the smaller question."""
ENOUGH = 50
"""Of how many it is the share at least where nobody chose: a handful of pictures of one subject says nothing of how many there
are elsewhere."""


def elsewhere_of(config: Config, run: Run) -> Config:
    """The configuration with the data set that `elsewhere` names, as if it had been typed without keys of the other one."""
    typed = [text for text in run.overrides if not text.lstrip("+~").startswith("dataset")]
    other = composed(config, {"dataset": config.elsewhere}, typed)
    chosen = any(text.lstrip("+").startswith("eval.images=") for text in run.overrides)
    count = max(2, round(FEWER * (config.eval.images if chosen else max(config.eval.images, ENOUGH))))
    if is_there(Prepared(other), run):
        count = min(count, sum(map(len, data_of(other, run).split("held_out").captions)))
    return replace(other, eval=replace(other.eval, images=count))
