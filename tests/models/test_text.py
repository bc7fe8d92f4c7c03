"""Captions to token ids and text states."""

import torch

from t2i.models.load import Models
from t2i.models.text import tokenize

from .toy import states


def test_captions_fill_exactly_the_token_limit_and_keep_the_end_token(models: Models) -> None:
    limit, tokenizer = models.tokenizer.model_max_length, models.tokenizer
    ids = tokenize(models, ["", "a cat", "cat " * 200])
    assert ids.shape == (3, limit) and ids.dtype is torch.int64
    assert (ids[:, 0] == tokenizer.bos_token_id).all()
    assert ids[0, 1] == ids[2, -1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in ids[2, :-1]


def test_states_do_not_depend_on_how_captions_are_batched(models: Models) -> None:
    captions = [f"picture number {i} of a cat" for i in range(5)]
    together, apart = states(models, captions), states(models, captions, batch_size=2)
    assert together.shape == (5, models.tokenizer.model_max_length, 24)
    assert torch.allclose(together, apart, atol=1e-6)
    assert torch.equal(together, models.text_encoder(tokenize(models, captions))[0])
