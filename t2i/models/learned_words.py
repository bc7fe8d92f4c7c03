"""Rows of a text encoder's vocabulary that train, while all others stay as they are."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from t2i.errors import UserError
from t2i.models.adapters import inversion
from t2i.models.parts import Models


class LearnedRows(nn.Module):
    """An embedding whose rows from `first` on are `learned`, float32 (count, width); the table of the others is frozen.

    Its state dict is that of the plain embedding, with the learned rows in their places.
    """

    def __init__(self, table: nn.Embedding, first: int, count: int) -> None:
        super().__init__()
        self.weight, self.first = table.weight, first
        self.learned = nn.Parameter(table.weight[first : first + count].detach().clone().float())
        self._plain = [table]  # in a list: no module of this one

    def forward(self, ids: Tensor) -> Tensor:
        """ids: int64 (...,) to (..., width), in the dtype of the frozen rows."""
        frozen, places = functional.embedding(ids, self.weight), ids - self.first
        own = functional.embedding(places.clamp(0, len(self.learned) - 1), self.learned).to(frozen.dtype)
        return torch.where(((places >= 0) & (places < len(self.learned)))[..., None], own, frozen)

    @torch.no_grad()
    def whole(self) -> Tensor:
        """The vocabulary as it is now, (rows, width)."""
        found = self.weight.detach().clone()
        found[self.first : self.first + len(self.learned)] = self.learned.to(found)
        return found

    def plain(self) -> nn.Embedding:
        """The embedding that it stands for, with the learned rows in it."""
        (table,) = self._plain
        table.weight = nn.Parameter(self.whole(), requires_grad=False)
        return table

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.whole()


def begin(models: Models, word: str, vectors: int, initial: str) -> None:
    """Add a word of so many vectors that begin as those of the tokens of `initial`, in turn; without it, as the mean of all.

    UserError where the word is in the vocabulary already, or `initial` is no word of it.
    """
    started = {}
    for name in models.family.encoders:
        tokenizer, encoder = models.tokenizers[name.replace("text_encoder", "tokenizer")], models.modules[name]
        table: Any = encoder.get_input_embeddings().weight  # type: ignore[operator]
        ids = tokenizer(initial, add_special_tokens=False).input_ids if initial else []
        if initial and (not ids or set(ids) & {tokenizer.unk_token_id}):
            raise UserError(
                f"strategy.initializers={initial} is no word for the {name} of model={models.name}; use one that it knows, such "
                "as the class of the subject: dog"
            )
        rows = table[[ids[k % len(ids)] for k in range(vectors)]] if ids else table.mean(0).expand(vectors, -1)
        started[name] = rows.detach().clone().float()
    inversion.add(models, word, started, "strategy.placeholders names", "use a word of your own, such as <subject>")


def learn(models: Models, words: list[str]) -> None:
    """Let the rows of these words, which `begin` added one after the other, train."""
    for name in models.family.encoders:
        encoder: Any = models.modules[name]
        tokenizer = models.tokenizers[name.replace("text_encoder", "tokenizer")]
        ids = [tokenizer.convert_tokens_to_ids(token) for word in words for token in models.words[word].split()]
        assert ids == list(range(ids[0], ids[0] + len(ids))), ids
        encoder.set_input_embeddings(LearnedRows(encoder.get_input_embeddings(), ids[0], len(ids)))


def rows_of(models: Models) -> Iterator[tuple[str, LearnedRows]]:
    """Where words are learned: the text encoders and their rows."""
    for name in models.family.encoders:
        yield from ((name, module) for module in models.modules[name].modules() if isinstance(module, LearnedRows))


def settle(models: Models) -> None:
    """What was learned becomes part of plain embeddings."""
    for name, table in list(rows_of(models)):
        models.modules[name].set_input_embeddings(table.plain())  # type: ignore[operator]


def vectors_of(models: Models, words: list[str], vectors: int) -> dict[str, dict[str, Tensor]]:
    """By word, the learned rows of each text encoder, float32 (vectors, width), on the CPU."""
    found: dict[str, dict[str, Tensor]] = {word: {} for word in words}
    for name, table in rows_of(models):
        for word, own in zip(words, table.learned.detach().float().cpu().split(vectors), strict=True):
            found[word][name] = own.contiguous()
    return found
