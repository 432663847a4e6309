"""Eviction at random: the control that every eviction method must beat.

Paper: none; a control.
Idea: at equal budget, a method that looks at nothing says how much looking is worth.
Symbols: nothing beyond the axes' names.
Simplified: nothing.
Differs: nothing.
Cost: one permutation a head.
Checked against: the size of the kept set; every token equally often.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.kv_cache import CacheView


@dataclass(frozen=True)
class Config:
    """recent_tokens: so many of the newest always stay, so that only the choice of old ones is at stake."""

    budget: int = 128
    recent_tokens: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.recent_tokens <= self.budget:
            raise ValueError(f"recent_tokens must be 1 to the budget ({self.budget}), got {self.recent_tokens}")


IDENTITY = Config(budget=2**40)


def keep_indices(view: CacheView, config: Config) -> Tensor:
    """-> (batch, kv_heads, kept), ascending: each head draws its own."""
    batch, kv_heads, kv_seq, _ = view.keys.shape
    generator = torch.Generator().manual_seed(config.seed + kv_seq)
    scores = torch.rand(batch, kv_heads, kv_seq, generator=generator).to(view.keys.device)
    scores[..., max(0, kv_seq - config.recent_tokens) :] = 2.0
    return scores.topk(min(config.budget, kv_seq), -1).indices.sort(-1).values
