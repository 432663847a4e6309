"""Queries, keys and values, and what softmax attention makes of them in float64."""

import torch

from reference_impls.models.attend import causal_mask
from tests.models.conftest import seeded


def made(q_seq, kv_seq, heads=6, kv_heads=2, head_dim=16, batch=2, seed=0, size=1.0, dtype=torch.float64):
    """-> queries, keys, values"""
    generator = seeded(seed)

    def draw(*shape):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * size).to(dtype)

    keys, values = (draw(batch, kv_heads, kv_seq, head_dim) for _ in range(2))
    return draw(batch, heads, q_seq, head_dim), keys, values


def naive(queries, keys, values):
    """Equation 1 of 1706.03762 with a causal mask, heads repeated, in the inputs' type."""
    groups = queries.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
    scores = queries @ keys.transpose(2, 3) / queries.shape[-1] ** 0.5
    hidden = ~causal_mask(queries.shape[2], keys.shape[2])
    return scores.masked_fill(hidden, float("-inf")).softmax(-1) @ values
