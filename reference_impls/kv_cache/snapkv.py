"""The prompt's tokens that its own end attends to, chosen once before decoding.

Paper: arXiv 2404.14469, section 4, listing 1 (votes of an observation window, pooled); SnapKV.
Idea: what the last queries of a prompt look at is what the answer will look at; pooling keeps neighbours of a peak.
Symbols: nothing beyond the axes' names.
Simplified: nothing is fused, so the window's weights are computed a second time to be seen.
Differs: query heads of a group vote together, since they share keys; the paper has one key head a query head.
Cost: observation_window * kv_seq weights a head, once; what is decoded stays, beyond the budget.
Checked against: votes and pooling by hand; a budget that holds the prompt is exact.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from reference_impls.kv_cache import CacheView

NEEDS = ("attention",)
ONCE = True


@dataclass(frozen=True)
class Config:
    """budget: tokens kept of the prompt, its last observation_window among them; pooling: width, an odd number."""

    budget: int = 128
    observation_window: int = 16
    pooling: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.observation_window <= self.budget:
            raise ValueError(f"observation_window must be 1 to {self.budget} (budget), got {self.observation_window}")
        if self.pooling < 1 or self.pooling % 2 == 0:
            raise ValueError(f"pooling must be odd and at least 1, got {self.pooling}")


IDENTITY = Config(budget=2**40)


def keep_indices(view: CacheView, config: Config) -> Tensor:
    """-> (batch, kv_heads, kept), ascending: each head has its own."""
    if view.attention is None:
        raise ValueError("snapkv needs the attention of the prompt's end: run the model inside evict.observing")
    kv_seq = view.keys.shape[2]
    own = min(config.observation_window, kv_seq)
    votes = view.attention[:, :, -own:].sum(2)
    votes[..., kv_seq - own :] = 0  # the window is kept anyway, and must not vote for its neighbours
    pooled = functional.max_pool1d(votes, config.pooling, stride=1, padding=config.pooling // 2)
    pooled[..., kv_seq - own :] = float("inf")
    return pooled.topk(min(config.budget, kv_seq), -1).indices.sort(-1).values
