"""Words that a tokenizer is to be taught: which it has already, and in how many pieces it reads what they begin as."""

from collections.abc import Sequence
from typing import Any, Optional

END = "</w>"
"""Of a token that ends a word, as CLIP's vocabulary writes it."""


def taken(tokenizer: Any, word: str, vectors: int) -> str:
    """The first of a new word's tokens that is in the vocabulary already; empty where none is."""
    known = tokenizer.get_vocab()
    return next((token for token in tokens_of(word, vectors) if token in known or f"{token}{END}" in known), "")


def tokens_of(word: str, vectors: int) -> list[str]:
    """`<word> <word>_1 ...`: what a word of so many vectors is in a prompt."""
    return [word, *(f"{word}_{number}" for number in range(1, vectors))]


def refusal(
    tokenizer: Any, model: str, words: Sequence[str], vectors: int, initializers: Sequence[str]
) -> Optional[str]:
    """Why these words cannot be taught, or would begin as a part of what they are told to; None where they can."""
    for word in words:
        if token := taken(tokenizer, word, vectors):
            return (
                f"strategy.placeholders names '{token}', which is in the vocabulary already; use a word of your own, such as "
                "<subject>"
            )
    for initial in initializers:
        pieces = [piece.removesuffix(END) for piece in tokenizer.tokenize(initial)]
        if len(pieces) > vectors:
            return (
                f"strategy.initializers=['{initial}'] is {len(pieces)} tokens of model={model} ({', '.join(pieces)}), and with "
                f"strategy.vectors={vectors} a word begins as the first{f' {vectors}' * (vectors > 1)} of them: use "
                f"strategy.vectors={len(pieces)}, or a word that it knows whole, such as dog"
            )
    return None
