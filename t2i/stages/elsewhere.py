"""What tuning cost where it was not asked for: both models again, on captions of another data set."""

from dataclasses import replace

from t2i.config import Config, composed
from t2i.context import Run

FEWER = 0.4
"""Share of `eval.images` that are drawn there: it is the smaller question."""


def elsewhere_of(config: Config, run: Run) -> Config:
    """The configuration with the data set that `elsewhere` names, as if it had been typed without keys of the other one."""
    typed = [text for text in run.overrides if not text.lstrip("+~").startswith("dataset")]
    other = composed(config, {"dataset": config.elsewhere}, typed)
    return replace(other, eval=replace(other.eval, images=max(2, round(FEWER * config.eval.images))))
