"""`text_states`: the text encoder's output for the captions of a split, made on the way to a training."""

from dataclasses import dataclass
from typing import Optional

from t2i.context import Run
from t2i.stages.encoded import ByModel


@dataclass(frozen=True, eq=False)
class TextStates(ByModel):
    """Of every different caption, keyed by it."""

    name = "text_states"
    off = {"cache_latents": False}  # noqa: RUF012

    @property
    def title(self) -> str:
        return f"text states, {self.split}"

    def rows(self, run: Run) -> Optional[int]:
        if super().rows(run) is None:
            return None
        return len({text for texts in self.part(run).captions for text in texts})
