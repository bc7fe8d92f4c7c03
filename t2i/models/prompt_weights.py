"""Weights of words in a prompt, `(word)1.3` and `word++`, by compel: how its states move away from those of no prompt."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from t2i.errors import ConfigError, UserError
from t2i.models.parts import Models

if TYPE_CHECKING:
    import torch

MOST = 5.0
"""The largest weight: pictures fall apart from about 1.6 on."""
KEY = "cfg.prompt_weights"
FOREIGN = re.compile(r"\(([^()]*):\s*(\d*\.?\d+)\s*\)")
"""How other programs write a weight; compel would read the number as a word."""
FUNCTIONS = re.compile(r"\.(and|blend|swap)\s*\(|\bwithLora\s*\(")
"""What compel knows besides weights."""


def refuse_foreign(prompt: str) -> None:
    """ConfigError for what looks like a weight and would be read as something else. Light: nothing is parsed."""
    if found := FOREIGN.search(prompt):
        raise ConfigError(
            f"the prompt holds {found[0]}, and {KEY}=true reads weights behind the bracket; write ({found[1]}){found[2]}"
        )
    if found := FUNCTIONS.search(prompt):
        raise ConfigError(
            f"the prompt holds {found[0]}...), and {KEY}=true reads weights alone: (word)1.3, word++, word-; write prompts "
            "one by one"
        )


def require() -> None:
    """UserError, with what to type, where compel is not installed. Light: nothing is imported."""
    from importlib.util import find_spec

    if find_spec("compel") is None:
        raise UserError(f"{KEY}=true needs compel; type: pip install -c constraints.txt -e '.[prompt-weights]'")


@lru_cache(maxsize=1024)
def fragments(prompt: str) -> tuple[tuple[str, float], ...]:
    """The texts of a prompt, each with its weight; one with weight 1, as it was typed, where it has no weights.

    Raises ConfigError for weights beyond 0 to `MOST` and for syntax of other programs, UserError without compel.
    """
    require()
    refuse_foreign(prompt)
    from compel import Compel

    try:
        (flat,) = Compel.parse_prompt_string(prompt).prompts
        found = [(part.text, float(part.weight)) for part in flat.children if part.text.strip()]
    except Exception as error:  # of its grammar, of almost any type
        raise ConfigError(
            f"the weights in the prompt {prompt[:80]!r} cannot be read; write (word)1.3 or word++"
        ) from error
    for text, weight in found:
        if not 0 <= weight <= MOST:
            raise ConfigError(
                f"the weight of {text[:40]!r} in a prompt is {weight:g}; use 0 to {MOST:g}, e.g. (word)1.3"
            )
    if all(weight == 1 for _, weight in found) and "(" not in prompt:
        return ((prompt, 1.0),)
    return tuple(found)


def plain(prompt: str) -> str:
    """The words alone, as they are counted in tokens."""
    return " ".join(text for text, _ in fragments(prompt))


def states(
    models: Models, prompts: Sequence[str | None], read: "Callable[[Sequence[str | None]], torch.Tensor]"
) -> "torch.Tensor":
    """The last states of the first text encoder, (n, tokens, width), for prompts with weights.

    read: what makes the states of plain prompts, by which those without a weight go. A weight w above 1 moves the states of
    its tokens w times as far from those of the empty prompt; one below 1 mixes in the states of the prompt in which the words
    are masked.
    """
    import torch

    parts = [fragments(prompt) if prompt else (("", 1.0),) for prompt in prompts]
    plainly = [i for i, own in enumerate(parts) if all(weight == 1 for _, weight in own)]
    rows: dict[int, torch.Tensor] = {}
    if plainly:
        told = [None if prompts[i] is None else " ".join(text for text, _ in parts[i]) for i in plainly]
        rows = dict(zip(plainly, read(told), strict=True))
    if len(rows) < len(parts):
        provider = _provider(models)
        for i, own in enumerate(parts):
            if i not in rows:
                rows[i] = _weighted(models, provider, own)
    return torch.stack([rows[i].to(next(iter(rows.values())).dtype) for i in range(len(parts))])


def _weighted(models: Models, provider: Any, parts: Sequence[tuple[str, float]]) -> "torch.Tensor":
    from t2i.models.text import spelt_out

    texts, weights = [spelt_out(models, text) for text, _ in parts], [weight for _, weight in parts]
    found: torch.Tensor = provider.get_embeddings_for_weighted_prompt_fragments(
        text_batch=[texts], fragment_weights_batch=[weights], device=provider.device
    )
    return found[0]


def _provider(models: Models) -> Any:
    """compel's, on the model's own tokenizer and text encoder."""
    from compel.embeddings_provider import EmbeddingsProvider

    encoder = models.text_encoder
    device = next(encoder.parameters()).device
    return EmbeddingsProvider(models.tokenizer, _Answering(encoder, device, models.dtype), device=device)


class _Answering:
    """A text encoder that is called as those of transformers are, whatever stands behind it."""

    def __init__(self, encoder: Any, device: "torch.device", dtype: "torch.dtype") -> None:
        self.encoder, self.device, self.dtype = encoder, device, dtype

    def __call__(self, ids: "torch.Tensor", mask: "torch.Tensor | None" = None, **options: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=self.encoder(ids, attention_mask=mask)[0])
