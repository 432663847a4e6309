"""The first few tokens and the newest: a window that stays fluent over any length, because it keeps its sinks.

Paper: arXiv 2309.17453, sections 3.1 (attention sinks) and 3.2 (rolling cache, positions inside it); StreamingLLM.
Idea: softmax must put its mass somewhere, and trained models put what is left over on the first tokens; a window that
    drops them loses that place. Four of them suffice, and positions count inside the cache, so none is ever too large.
Symbols: nothing beyond the axes' names.
Simplified: no training with a sink token of its own.
Differs: keys are kept as they were first rotated and turned on by the difference; the paper keeps them unrotated.
Cost: constant memory; one rotation of the window a step once tokens have left.
Checked against: plain decoding below the budget; a model that reads sinks and window as one text.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.kv_cache import CacheView

IN_CACHE_POSITIONS = True


@dataclass(frozen=True)
class Config:
    """sink_tokens of the first and the newest of the rest; 0 sinks is a plain window, the paper's control."""

    budget: int = 128
    sink_tokens: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.sink_tokens < self.budget:
            raise ValueError(f"sink_tokens must be 0 to the budget - 1 ({self.budget - 1}), got {self.sink_tokens}")


IDENTITY = Config(budget=2**40)


def keep_indices(view: CacheView, config: Config) -> Tensor:
    """-> (batch, kv_heads, kept), ascending: the same for every head."""
    kv_seq = view.keys.shape[2]
    slots = torch.arange(kv_seq, device=view.keys.device)
    if kv_seq > config.budget:
        slots = torch.cat([slots[: config.sink_tokens], slots[kv_seq - config.budget + config.sink_tokens :]])
    return slots.expand(*view.keys.shape[:2], -1)
