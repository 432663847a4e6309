"""Prefix-tuning: learn keys and values of tokens that are not there, in every layer of a frozen model.

Paper: arXiv 2101.00190, section 4.2, eq. 3.
Idea: what a model does follows from what it attends to; give it something to attend to that no text could say.
Symbols: keys, values (kv_heads, tokens, head_dim) of each layer, before those of the text.
Simplified: trained directly, without the network that makes the prefix in the paper and is dropped afterwards.
Differs: the prefix's keys are not rotated and the text's positions start at 0, so its distance to all is the same.
Cost: 2 * tokens * kv_heads * head_dim parameters a layer; as many cache entries are read at every step for ever.
Checked against: the same keys and values put into the model's cache.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impls.models.decoder import Attend, Decoder

LEARNING_RATE = 0.1


@dataclass(frozen=True)
class Config:
    """How long, and how it begins."""

    tokens: int = 8
    deviation: float = 0.02  # of the normal numbers it starts with

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"tokens must be at least 1, got {self.tokens}")


class PrefixAttend(nn.Module):
    """Attention that sees the prefix before everything else."""

    def __init__(self, inner: Attend, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.keys, self.values = nn.Parameter(keys), nn.Parameter(values)  # (kv_heads, tokens, head_dim)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shapes as in models.attend.attend."""
        batch = len(keys)
        keys = torch.cat([self.keys.expand(batch, -1, -1, -1), keys], 2)
        values = torch.cat([self.values.expand(batch, -1, -1, -1), values], 2)
        if mask is not None:  # without one, attention is causal from the end: the prefix is before everything
            mask = functional.pad(mask, (self.keys.shape[1], 0), value=True)
        return self.inner(queries, keys, values, mask)


def adapt(model: nn.Module, config: Config, generator: torch.Generator | None = None) -> Decoder:
    """A copy that attends to a prefix in every layer; only the prefixes are trainable. model: a Decoder"""
    if not isinstance(model, Decoder):
        raise TypeError(f"prefix needs this package's Decoder, got {type(model).__name__}")
    result = deepcopy(model).requires_grad_(False)
    blocks: Any = result.blocks
    for block in blocks:
        attention = block.attention
        shape = (attention.key.out_features // attention.head_dim, config.tokens, attention.head_dim)
        keys, values = (torch.randn(shape, generator=generator) * config.deviation for _ in range(2))
        like = attention.key.weight
        attention.attend = PrefixAttend(attention.attend, keys.to(like), values.to(like))
    return result
