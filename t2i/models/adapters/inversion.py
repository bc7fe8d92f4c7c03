"""Textual inversion (Gal et al. 2022): learned token embeddings under a word of their own."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from t2i.errors import UserError
from t2i.models.adapters.kinds import Found
from t2i.models.adapters.words import BY_ENCODER, named, words_of
from t2i.models.new_words import taken, tokens_of
from t2i.models.parts import Models

Vectors = Mapping[str, Tensor]
"""By text encoder: (vectors, width) of one word."""


def place(models: Models, found: Found) -> list[str]:
    """Add the words to the tokenizers and their vectors to the text encoders; returns the words.

    A word of several vectors becomes several tokens, `<word> <word>_1 ...`, wherever a prompt has it. Raises UserError when
    the width is another one, or the word is in the vocabulary already.
    """
    from safetensors.torch import load_file

    words = vectors_of(models, load_file(found.files[0]), words_of(found))
    for word, vectors in words.items():
        for name, own in vectors.items():
            encoder: Any = models.modules.get(name)
            width = 0 if encoder is None else int(encoder.config.hidden_size)
            if own.shape[1] != width:
                raise UserError(
                    f"{found.path} holds embeddings {own.shape[1]} wide for the {name} and model={models.name} has "
                    f"{width or 'none'}: it seems to be {found.spoken}; use the model that it was made for"
                )
            if not bool(own.isfinite().all()):
                raise UserError(f"{found.path} holds a value that is not finite; it would spoil every picture")
        if lacking := set(models.family.encoders) - set(vectors):
            raise UserError(
                f"{found.path} has no embeddings for the {min(lacking)} of model={models.name}: it seems to be {found.spoken}; "
                "use the model that it was made for"
            )
        add(models, word, vectors, f"{found.path} teaches", _remedy(found, word))
    return list(words)


def _remedy(found: Found, word: str) -> str:
    """What helps where the model has the word: a file that names none is called after its own name."""
    if word in named(found):
        return "the model has it without this file: leave the file out"
    return "rename the file to the word that prompts shall have, e.g. my-style.safetensors"


def vectors_of(models: Models, tensors: Mapping[str, Tensor], words: Sequence[str]) -> dict[str, Vectors]:
    """By word, what a file's tensors say for each text encoder, float32."""

    def rows(tensor: Tensor) -> Tensor:
        found = tensor.to(torch.float32)
        return found[None] if found.ndim == 1 else found

    if set(tensors) == set(BY_ENCODER):
        return {words[0]: {encoder: rows(tensors[key]) for key, encoder in BY_ENCODER.items()}}
    own = models.family.encoders[0]
    return {word: {own: rows(tensors[name])} for word, name in zip(words, sorted(tensors), strict=True)}


def add(models: Models, word: str, vectors: Vectors, who: str, remedy: str) -> None:
    """Add one word. who, remedy: how the sentence begins and ends that refuses a word which is in the vocabulary already."""
    (count,) = {len(own) for own in vectors.values()}
    tokens = tokens_of(word, count)
    for name, own in vectors.items():
        tokenizer = models.tokenizers[name.replace("text_encoder", "tokenizer")]
        there = taken(tokenizer, word, count)
        if there or re.search(r"\s", word):
            reason = f"'{there}', which is in the vocabulary already" if there else f"'{word}', which is no single word"
            raise UserError(f"{who} {reason}; {remedy}")
        tokenizer.add_tokens(tokens)
        encoder: Any = models.modules[name]
        rows = int(encoder.get_input_embeddings().weight.shape[0])
        if len(tokenizer) > rows:
            encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        table = encoder.get_input_embeddings().weight
        with torch.no_grad():
            for token, vector in zip(tokens, own, strict=True):
                table[tokenizer.convert_tokens_to_ids(token)] = vector.to(table.dtype)
        encoder.requires_grad_(False)
    models.words[word] = " ".join(tokens)
