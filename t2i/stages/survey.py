"""`survey`: counts of domains, words, tokens and sizes of a prepared set; `long_captions`: those that the model cuts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import as_dict
from t2i.context import Run
from t2i.data.tokens import long_captions
from t2i.errors import UserError
from t2i.stages.prepared import Prepared
from t2i.stages.stage import Address, Stage, made
from t2i.store import Stage as Finished
from t2i.store import digest_of

if TYPE_CHECKING:
    from t2i.data.survey import Survey as Found
    from t2i.data.tokens import TokenLimit


@dataclass(frozen=True, eq=False)
class Survey(Stage):
    """`survey.json`. Tokens are counted where the model's tokenizer is on this machine."""

    name = "survey"
    version = 2

    def inputs(self) -> dict[str, Stage]:
        return {"data": Prepared(self.config)}

    def hangs_on(self) -> Any:
        return as_dict(self.config.model)

    def tokens(self, run: Run) -> "Optional[TokenLimit]":
        """None where there is no tokenizer, which is said once: data can be prepared on a machine that has no model yet."""

        def find() -> "list[Optional[TokenLimit]]":
            from t2i.data.tokens import TokenLimit
            from t2i.models.tokenizer import TokenCounter

            try:
                counter = TokenCounter(self.config.model)
            except UserError as error:
                run.say(f"tokens are not counted: {error}")
                return [None]
            return [TokenLimit(digest_of(run.store.file_digests(counter.files)), counter.limit, counter)]

        return run.kept("tokens", as_dict(self.config.model), find)[0]

    def address(self, run: Run) -> Address:
        tokens = self.tokens(run)
        return Address({}, {"tokenizer": tokens.tokenizer, "limit": tokens.limit} if tokens else {})

    def at(self, run: Run) -> Finished:
        if (tokens := self.tokens(run)) is not None:
            run.use(long_captions(made(Prepared(self.config), run), run.store, tokens))
        return super().at(run)

    def build(self, run: Run, folder: Path) -> None:
        from t2i.data.survey import survey

        survey(made(Prepared(self.config), run).path, self.tokens(run)).write(folder / "survey.json")

    def read(self, run: Run) -> "Found":
        """What the prepared set holds."""
        from t2i.data.survey import Survey as Found

        return Found.read(made(self, run).path / "survey.json")
