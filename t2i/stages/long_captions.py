"""`long_captions`: the captions that the model's text encoder cuts, and how much of each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, as_dict
from t2i.context import Run
from t2i.data.tokens import long_captions
from t2i.errors import UserError
from t2i.stages.prepared import Prepared
from t2i.stages.stage import Stage, made
from t2i.store import Stage as Finished
from t2i.store import digest_of

if TYPE_CHECKING:
    from t2i.data.tokens import TokenLimit


@dataclass(frozen=True, eq=False)
class LongCaptions(Stage):
    """`long_captions.json` (`t2i.data.tokens`), where the model's tokenizer is on this machine."""

    name = "long_captions"

    def inputs(self) -> dict[str, Stage]:
        return {"data": Prepared(self.config)}

    def hangs_on(self) -> Any:
        return as_dict(self.config.model)

    def wanted(self, run: Run) -> bool:
        return tokens_of(self.config, run) is not None

    def at(self, run: Run) -> Finished:
        tokens = tokens_of(self.config, run)
        assert tokens is not None
        return run.use(long_captions(made(Prepared(self.config), run), run.store, tokens))


def tokens_of(config: Config, run: Run) -> "Optional[TokenLimit]":
    """What the text encoder reads; None where there is no tokenizer, which is said once: data can be prepared on a machine that
    has no model yet.
    """

    def find() -> "list[Optional[TokenLimit]]":
        from t2i.data.tokens import TokenLimit
        from t2i.models.tokenizer import TokenCounter

        try:
            counter = TokenCounter(config.model)
        except UserError as error:
            run.say(f"tokens are not counted: {error}")
            return [None]
        return [TokenLimit(digest_of(run.store.file_digests(counter.files)), counter.limit, counter)]

    return run.kept("tokens", as_dict(config.model), find)[0]
