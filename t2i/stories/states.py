"""What a CLIP knows before and after tuning, and between both: numbers by state, and what they are called."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Optional

from t2i.config import Config
from t2i.context import Run
from t2i.stages.clip import Clip
from t2i.stages.clip_features import ALPHAS, Measured, blend

if TYPE_CHECKING:
    import numpy as np

    from t2i.evaluation.statistics.intervals import Interval


def compared(states: dict[str, Measured]) -> dict[str, float]:
    """Every number of every state as `before/...` and `after/...`, and `difference/...` between those two."""
    from t2i.evaluation.metrics.contrast import differences

    metrics: dict[str, float] = {}

    def add(prefix: str, found: "dict[str, Interval]") -> None:
        for name, interval in found.items():
            metrics[f"{prefix}/{name}"] = interval.value
            metrics[f"{prefix}/{name}.low"], metrics[f"{prefix}/{name}.high"] = interval.low, interval.high

    for name, state in states.items():
        add(name.replace(" ", "_"), state.contrast.metrics)
    first = next(iter(states.values()))  # with fresh projections the CLIP as it came, not the one that knows nothing
    last = list(states.values())[-1]
    add("difference", differences(first.contrast, last.contrast))
    return metrics


def blends(config: Config, other: Optional[Config], run: Run) -> "tuple[dict[str, np.ndarray], dict[str, float]]":
    """The headline number on the tuned set, and zero-shot accuracy on the other one, at each of `ALPHAS`.

    Gives curves, float (A, 3) of value, low and high in percent, and the same as flat numbers.
    """
    import numpy as np

    curves, numbers = {}, {}
    for key, where in (("here", config), ("elsewhere", other)):
        if where is None:
            continue
        found = [blend(where, Clip(config), alpha).read(run).contrast.metrics for alpha in ALPHAS]
        name = headline(found[0])
        values = np.array([[100 * getattr(one[name], end) for end in ("value", "low", "high")] for one in found])
        where_from = where.dataset.name if where is config else f"{where.dataset.name} (not tuned on)"
        curves[f"{where_from}: {spoken(name)}"] = values
        for alpha, row in zip(ALPHAS, values, strict=True):
            numbers[f"blend/{key}/{name}/{alpha:g}"] = float(row[0])
    return curves, numbers


def headline(found: "Mapping[str, Interval]") -> str:
    """The number that stands for a set: zero-shot accuracy where it has classes, otherwise recall of captions."""
    known = ("zero_shot_accuracy", "image_to_text_recall_1", "text_to_image_recall_1")
    return next(name for name in known if name in found)


def spoken(name: str) -> str:
    """A number's name for people: `image_to_text_recall_1` is `image to text, recall@1`."""
    return re.sub(r" recall (\d+)$", r", recall@\1", name.replace("_", " ")).replace("zero shot", "zero-shot")
