"""Decode attention with the keys split among workers, whose results are joined by their total weights.

Paper: "Flash-Decoding for long-context inference", PyTorch blog, 2023; arXiv 2205.14135, section 3.1 (the joining).
Idea: one new query gives a kernel only batch * kv_heads pieces of work; cutting the keys gives as many as there are
    processors, and softmax over parts is exact when each part says how much weight it holds.
Symbols: nothing beyond the axes' names.
Simplified: parts run one after the other; the kernel in `paged_decode_triton.py` runs them at once.
Differs: nothing.
Cost: keys and values once, as without splitting; splits * heads * (head_dim + 1) numbers more.
Checked against: softmax attention in float64, for any splits, even of one key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from reference_impls.attention.parts import Part, join, part_of, stack
from reference_impls.models.attend import causal_mask


@dataclass(frozen=True)
class Config:
    """How many parts; fewer where there are fewer keys."""

    splits: int = 8

    def __post_init__(self) -> None:
        if self.splits < 1:
            raise ValueError(f"splits must be at least 1, got {self.splits}")


def bounds(kv_seq: int, splits: int) -> list[int]:
    """Where parts begin and end: as even as can be. -> ascending, from 0 to kv_seq"""
    splits = min(splits, kv_seq)
    return [kv_seq * place // splits for place in range(splits + 1)]


def attend_between(queries: Tensor, keys: Tensor, values: Tensor, cuts: Sequence[int]) -> Tensor:
    """With parts that begin and end at these cuts, from 0 to kv_seq. Shapes as in `attend`."""
    hidden = ~causal_mask(queries.shape[2], keys.shape[2], device=queries.device)
    parts: list[Part] = []
    for start, end in pairwise(cuts):
        parts.append(part_of(queries, keys[:, :, start:end], values[:, :, start:end], hidden[:, start:end]))
    return join(stack(parts))


def attend(queries: Tensor, keys: Tensor, values: Tensor, config: Config) -> Tensor:
    """Causal attention, aligned at the last position.

    queries: (batch, heads, q_seq, head_dim); keys, values: (batch, kv_heads, kv_seq, head_dim)
    -> (batch, heads, q_seq, head_dim)
    """
    return attend_between(queries, keys, values, bounds(keys.shape[2], config.splits))
