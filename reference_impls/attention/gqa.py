"""Fewer heads of keys and values: a trained model's heads pooled into groups, to be trained on for a little.

Paper: arXiv 2305.13245, sections 2.1 (mean-pooled conversion) and 2.2 (groups); 1911.02150, section 3 (one head, MQA).
Idea: query heads share the mean of the keys and values that they had; the cache shrinks by the number that share.
Symbols: nothing beyond the axes' names.
Simplified: the training that follows is the caller's.
Differs: "first" takes a group's first head instead of the mean, the paper's control.
Cost: 2 * layers * kv_heads * head_dim numbers a token.
Checked against: a model whose heads are equal within groups, which loses nothing; means by hand.
"""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from reference_impls.models.decoder import Decoder


@dataclass(frozen=True)
class Config:
    """kv_heads: as many as are left; 1 is multi-query attention."""

    kv_heads: int = 1
    how: Literal["mean", "first"] = "mean"

    def __post_init__(self) -> None:
        if self.kv_heads < 1:
            raise ValueError(f"kv_heads must be at least 1, got {self.kv_heads}")


def pool(weight: Tensor, kv_heads: int, config: Config) -> Tensor:
    """The projection of fewer heads. weight: (kv_heads * head_dim, hidden) -> (config.kv_heads * head_dim, hidden)"""
    groups = weight.reshape(config.kv_heads, kv_heads // config.kv_heads, -1, weight.shape[1])
    pooled: Tensor = groups.mean(1) if config.how == "mean" else groups[:, 0]
    return pooled.flatten(0, 1)


def convert(model: Decoder, config: Config) -> Decoder:
    """A copy whose query heads share config.kv_heads heads of keys and values."""
    before = model.config.kv_heads
    if before % config.kv_heads:
        raise ValueError(f"kv_heads must divide the model's {before}, got {config.kv_heads}")
    made = deepcopy(model)
    made.config = replace(model.config, kv_heads=config.kv_heads)
    for block in made.blocks:
        for name in ("key", "value"):
            old = getattr(block.attention, name)
            setattr(block.attention, name, _linear(pool(old.weight.detach(), before, config), old))
    return made


def spread(model: Decoder) -> Decoder:
    """The opposite: every query head gets a copy of its keys and values (multi-head attention), values unchanged."""
    c, made = model.config, deepcopy(model)
    made.config = replace(c, kv_heads=c.heads)
    for block in made.blocks:
        for name in ("key", "value"):
            old = getattr(block.attention, name)
            heads = old.weight.detach().reshape(c.kv_heads, c.head_dim, -1)
            wide = heads.repeat_interleave(c.heads // c.kv_heads, 0).flatten(0, 1)
            setattr(block.attention, name, _linear(wide, old))
    return made


def _linear(weight: Tensor, like: nn.Linear) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    made.weight = nn.Parameter(weight.contiguous(), requires_grad=like.weight.requires_grad)
    return made


def cache_numbers(heads: int, head_dim: int) -> int:
    """Numbers that a token leaves in one layer's cache, with so many heads of keys and values."""
    return 2 * heads * head_dim
