"""Heavy hitters: the tokens that attention has looked at most so far, and the newest.

Paper: arXiv 2306.14048, section 4, algorithm 1 (greedy eviction by accumulated attention); H2O.
Idea: accumulated attention is concentrated on few tokens, and those that were looked at go on being looked at.
Symbols: nothing beyond the axes' names.
Simplified: nothing is fused, so the weights are computed a second time to be seen.
Differs: query heads of a group vote together, since they share keys; the paper has one key head a query head.
Cost: heads * kv_seq additions a step, and attention weights that fused kernels do not give.
Checked against: the greedy rule on a matrix of weights, token by token; a budget of 100 % is exact.
"""

from dataclasses import dataclass

from torch import Tensor

from reference_impls.kv_cache import CacheView

NEEDS = ("accumulated",)


@dataclass(frozen=True)
class Config:
    """recent_share: part of the budget that the newest tokens have, whatever their score (the paper's half)."""

    budget: int = 128
    recent_share: float = 0.5

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"budget must be at least 1, got {self.budget}")
        if not 0 <= self.recent_share <= 1:
            raise ValueError(f"recent_share must be 0 to 1, got {self.recent_share}")


IDENTITY = Config(budget=2**40)


def keep_indices(view: CacheView, config: Config) -> Tensor:
    """-> (batch, kv_heads, kept), ascending: each head has its own heavy hitters."""
    if view.accumulated is None:
        raise ValueError("h2o needs accumulated attention: run the model inside evict.observing")
    kv_seq = view.keys.shape[2]
    recent = min(kv_seq, round(config.budget * config.recent_share))
    scores = view.accumulated.clone()
    scores[..., kv_seq - recent :] = float("inf")
    return scores.topk(min(config.budget, kv_seq), -1).indices.sort(-1).values
