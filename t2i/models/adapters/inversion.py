"""Textual inversion (Gal et al. 2022): learned token embeddings under a word of their own."""

import re

import torch
from torch import Tensor

from t2i.errors import UserError
from t2i.models.adapters.kinds import Found
from t2i.models.adapters.words import words_of
from t2i.models.parts import Models


def place(models: Models, found: Found) -> list[str]:
    """Add the words to the tokenizer and their vectors to the text encoder; returns the words.

    A word of several vectors becomes several tokens, `<word> <word>_1 ...`, wherever a prompt has it. Raises UserError when
    the width is another one, or the word is in the vocabulary already.
    """
    from safetensors.torch import load_file

    tensors = load_file(found.files[0])
    width = int(models.text_encoder.config.hidden_size)
    words = words_of(found)
    for word, name in zip(words, sorted(tensors), strict=True):
        vectors = tensors[name].to(torch.float32)
        vectors = vectors[None] if vectors.ndim == 1 else vectors
        if vectors.shape[1] != width:
            raise UserError(
                f"{found.path} holds embeddings {vectors.shape[1]} wide and model={models.name} has {width}: it seems to be "
                f"{found.spoken}; use the model that it was made for"
            )
        if not bool(vectors.isfinite().all()):
            raise UserError(f"{found.path} holds a value that is not finite in {name}; it would spoil every picture")
        _add(models, word, vectors, found)
    return words


def _add(models: Models, word: str, vectors: Tensor, found: Found) -> None:
    tokens = [word, *(f"{word}_{number}" for number in range(1, len(vectors)))]
    known = models.tokenizer.get_vocab()
    taken = next((token for token in tokens if token in known or f"{token}</w>" in known), "")
    if taken or re.search(r"\s", word):
        reason = f"'{taken}', which is in the vocabulary already" if taken else f"'{word}', which is no single word"
        raise UserError(
            f"{found.path} teaches {reason}; rename the file to the word that prompts shall have, e.g. my-style.safetensors"
        )
    models.tokenizer.add_tokens(tokens)
    encoder = models.text_encoder
    rows = int(encoder.get_input_embeddings().weight.shape[0])
    if len(models.tokenizer) > rows:
        encoder.resize_token_embeddings(len(models.tokenizer), mean_resizing=False)
    table = encoder.get_input_embeddings().weight
    with torch.no_grad():
        for token, vector in zip(tokens, vectors, strict=True):
            table[models.tokenizer.convert_tokens_to_ids(token)] = vector.to(table.dtype)
    encoder.requires_grad_(False)
    models.words[word] = " ".join(tokens)
