"""`task=prepare`: read, check and resize a dataset; set aside what cannot be used; show what is there."""

from t2i.config import Config
from t2i.context import Run
from t2i.stages.goals import Goals
from t2i.stages.long_captions import LongCaptions
from t2i.stages.prepared import Prepared
from t2i.stages.survey import Survey
from t2i.stories import data


def stages(config: Config, run: Run) -> Goals:
    """The data, and what is in it."""
    yield "data", [Prepared(config)]
    yield "survey", [LongCaptions(config), Survey(config)]


def prepare(config: Config, run: Run) -> dict[str, float]:
    """Returns how many pictures, captions and words there are, how many captions are cut, and what was set aside."""
    return data.tell(config, run)
