"""Joint attention over pictures and text (Esser et al. 2024), in which one token can stand for many that are alike."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def repeated_last(tokens: int, times: int, like: torch.Tensor) -> torch.Tensor:
    """A mask (1, 1, 1, tokens), in dtype and on the device of `like`: added to the scores, it lets the last token count
    `times` times.

    Softmax sums exp(score) over keys, so k equal keys with equal values are one with log(k) added to its score.
    """
    mask = like.new_zeros(tokens)
    mask[-1] = math.log(times)
    return mask.view(1, 1, 1, -1)


class JointAttention:
    """As diffusers' JointAttnProcessor2_0, and it reads the mask that is handed through `joint_attention_kwargs`."""

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """hidden_states (n, tokens, width) of the picture; encoder_hidden_states, of the text, come behind them."""
        count = hidden_states.shape[1]
        query, key, value = (
            _heads(attn, layer(hidden_states), norm)
            for layer, norm in ((attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k), (attn.to_v, None))
        )
        if encoder_hidden_states is None:
            return self._out(attn, _attended(query, key, value, None))
        added = (
            _heads(attn, layer(encoder_hidden_states), norm)
            for layer, norm in (
                (attn.add_q_proj, attn.norm_added_q),
                (attn.add_k_proj, attn.norm_added_k),
                (attn.add_v_proj, None),
            )
        )
        query, key, value = (torch.cat(pair, dim=2) for pair in zip((query, key, value), added, strict=True))
        every = _attended(query, key, value, attention_mask)
        text = every[:, count:]
        return self._out(attn, every[:, :count]), text if attn.context_pre_only else attn.to_add_out(text)

    @staticmethod
    def _out(attn: Any, states: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = attn.to_out[1](attn.to_out[0](states))
        return projected


def _heads(attn: Any, states: torch.Tensor, norm: nn.Module | None) -> torch.Tensor:
    """(n, heads, tokens, width of a head)."""
    split = states.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
    return split if norm is None else norm(split)


def _attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return attended.transpose(1, 2).flatten(2)
