"""Attention tile by tile with an online softmax: the matrix of scores never exists, forwards or backwards.

Paper: arXiv 2205.14135, algorithm 1 and appendix B (FlashAttention); 2307.08691, section 3.1 (FlashAttention-2).
Idea: keep a running maximum and total for each query; when a tile brings a larger maximum, scale down what was summed.
    The backward pass computes the scores again from the kept log-totals instead of reading them.
Symbols: m = largest score so far, l = sum of exp(score - m), o = sum of exp(score - m) * value.
Simplified: plain tensor operations: memory and tiles left out show, the speed of one fused kernel does not; no dropout.
Differs: queries in the outer loop, as in the second paper; tiles above the diagonal are left out.
Cost: 4 * heads * q_seq * kv_seq * head_dim FLOPs, half if causal; query_tile * kv_tile scores at a time.
Checked against: softmax attention in float64; autograd for the gradients; the number of tiles.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.attention.parts import Part


@dataclass(frozen=True)
class Config:
    """Positions of queries and of keys that are worked on together."""

    query_tile: int = 64
    kv_tile: int = 64

    def __post_init__(self) -> None:
        if min(self.query_tile, self.kv_tile) < 1:
            raise ValueError(f"tiles must be at least 1, got {self.query_tile} and {self.kv_tile}")


def tiles(q_seq: int, kv_seq: int, config: Config) -> Iterator[tuple[slice, slice, Tensor | None]]:
    """Every tile that some query may see, by rows: queries, keys, and what is hidden inside (None: nothing)."""
    ahead = kv_seq - q_seq  # query i sees keys up to i + ahead
    for row in range(0, q_seq, config.query_tile):
        end = min(row + config.query_tile, q_seq)
        for column in range(0, min(end + ahead, kv_seq), config.kv_tile):
            stop = min(column + config.kv_tile, kv_seq)
            hidden = None
            if stop - 1 > row + ahead:
                hidden = torch.arange(column, stop) > torch.arange(row, end)[:, None] + ahead
            yield slice(row, end), slice(column, stop), hidden


def forward(queries: Tensor, keys: Tensor, values: Tensor, config: Config) -> Part:
    """The mix and, for the backward pass, the log-totals. Shapes as in `attend`."""
    batch, heads, q_seq, head_dim = queries.shape
    kv_heads, kv_seq = keys.shape[1], keys.shape[2]
    split = queries.reshape(batch, kv_heads, -1, q_seq, head_dim) * head_dim**-0.5
    m = split.new_full((*split.shape[:4], 1), float("-inf"))
    l, o = torch.zeros_like(m), torch.zeros_like(split)  # noqa: E741 the paper's names
    for rows, columns, hidden in tiles(q_seq, kv_seq, config):
        scores = _scores(split, keys, rows, columns, hidden)
        new_m = torch.maximum(m[..., rows, :], scores.amax(-1, keepdim=True))
        shares, shrink = torch.exp(scores - new_m), torch.exp(m[..., rows, :] - new_m)
        l[..., rows, :] = l[..., rows, :] * shrink + shares.sum(-1, keepdim=True)
        o[..., rows, :] = o[..., rows, :] * shrink + shares @ values[:, :, None, columns]
        m[..., rows, :] = new_m
    return Part((o / l).view(queries.shape), (m + l.log()).view(batch, heads, q_seq, 1))


def backward(
    queries: Tensor, keys: Tensor, values: Tensor, done: Part, gradient: Tensor, config: Config
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values, with the scores computed again.

    done: what `forward` gave; gradient: of the mix, (batch, heads, q_seq, head_dim) -> as queries, keys, values
    """
    batch, _, q_seq, head_dim = queries.shape
    kv_heads, kv_seq = keys.shape[1], keys.shape[2]
    split, grad, mixed = (x.reshape(batch, kv_heads, -1, q_seq, head_dim) for x in (queries, gradient, done.mixed))
    log_total = done.log_total.reshape(*split.shape[:4], 1)
    inner = (grad * mixed).sum(-1, keepdim=True)  # the papers' D
    of_queries, of_keys, of_values = torch.zeros_like(split), torch.zeros_like(keys), torch.zeros_like(values)
    scale = head_dim**-0.5
    for rows, columns, hidden in tiles(q_seq, kv_seq, config):
        shares = torch.exp(_scores(split * scale, keys, rows, columns, hidden) - log_total[..., rows, :])
        of_values[:, :, columns] += (shares.transpose(-1, -2) @ grad[..., rows, :]).sum(2)
        pull = grad[..., rows, :] @ values[:, :, None, columns].transpose(-1, -2)
        of_scores = shares * (pull - inner[..., rows, :]) * scale
        of_queries[..., rows, :] += of_scores @ keys[:, :, None, columns]
        of_keys[:, :, columns] += (of_scores.transpose(-1, -2) @ split[..., rows, :]).sum(2)
    return of_queries.view(queries.shape), of_keys, of_values


def attend(queries: Tensor, keys: Tensor, values: Tensor, config: Config) -> Tensor:
    """Causal attention, aligned at the last position.

    queries: (batch, heads, q_seq, head_dim); keys, values: (batch, kv_heads, kv_seq, head_dim)
    -> (batch, heads, q_seq, head_dim)
    """
    return forward(queries, keys, values, config).mixed


def _scores(split: Tensor, keys: Tensor, rows: slice, columns: slice, hidden: Tensor | None) -> Tensor:
    """One tile. split: (batch, kv_heads, heads of a group, q_seq, head_dim), scaled -> (..., rows, columns)"""
    scores: Tensor = split[..., rows, :] @ keys[:, :, None, columns].transpose(-1, -2)
    return scores if hidden is None else scores.masked_fill(hidden.to(scores.device), float("-inf"))
