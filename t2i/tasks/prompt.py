"""`python run.py task=prompt [weights=<run>]`: pictures for prompts that are typed one after another."""

from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.stages.painting import offer_of, painter_of
from t2i.stages.tuned import find_tuned


def prompt(config: Config, run: Run) -> dict[str, float]:
    """Asks until Ctrl-D or /quit; returns how many pictures were made. They are in `images/` of the run folder."""
    from t2i.web.console import Console

    painter = painter_of(config, run, find_tuned(config, run))
    console = Console(
        painter, offer_of(config, painter), Path(config.outputs) / "prompts.history", wildcards=config.wildcards
    )
    console.run()
    return {"pictures": float(painter.made)}
