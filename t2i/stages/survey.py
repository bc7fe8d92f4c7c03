"""`survey`: counts of domains, words, tokens and sizes of a prepared set; examples drawn by lot."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.config import as_dict
from t2i.context import Run
from t2i.stages.long_captions import tokens_of
from t2i.stages.prepared import Prepared
from t2i.stages.stage import Address, Stage, made

if TYPE_CHECKING:
    from t2i.data.survey import Survey as Found


@dataclass(frozen=True, eq=False)
class Survey(Stage):
    """`survey.json`. Tokens are counted where the model's tokenizer is on this machine."""

    name = "survey"
    version = 2

    def inputs(self) -> dict[str, Stage]:
        return {"data": Prepared(self.config)}

    def hangs_on(self) -> Any:
        return as_dict(self.config.model)

    def address(self, run: Run) -> Address:
        tokens = tokens_of(self.config, run)
        return Address({}, {"tokenizer": tokens.tokenizer, "limit": tokens.limit} if tokens else {})

    def build(self, run: Run, folder: Path) -> None:
        from t2i.data.survey import survey

        survey(made(Prepared(self.config), run).path, tokens_of(self.config, run)).write(folder / "survey.json")

    def read(self, run: Run) -> "Found":
        """What the prepared set holds."""
        from t2i.data.survey import Survey as Found

        return Found.read(made(self, run).path / "survey.json")
