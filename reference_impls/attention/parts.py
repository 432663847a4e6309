"""Attention over some of the keys, in the form in which parts can be joined: the mix, and its total weight."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """mixed: (batch, heads, q_seq, head_dim), normalised over this part; log_total: (batch, heads, q_seq, 1), the log
    of the sum of exp(score), -inf where a query may see none of this part (its mix is then 0)."""

    mixed: Tensor
    log_total: Tensor


def grouped(queries: Tensor, kv_heads: int) -> Tensor:
    """The heads that share keys become rows of one matrix.

    queries: (batch, heads, q_seq, head_dim) -> (batch, kv_heads, heads of a group * q_seq, head_dim)
    """
    batch, _, _, head_dim = queries.shape
    return queries.reshape(batch, kv_heads, -1, head_dim)


def part_of(queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None = None) -> Part:
    """One part, computed plainly, in the queries' own type.

    queries: (batch, heads, q_seq, head_dim); keys, values: (batch, kv_heads, part, head_dim);
    hidden: bool, broadcastable to (batch, heads, q_seq, part), True = may not be seen
    """
    shape = queries.shape[:3]
    rows = grouped(queries, keys.shape[1]) * queries.shape[-1] ** -0.5
    scores = (rows @ keys.transpose(2, 3)).view(*shape, -1)
    if hidden is not None:
        scores = scores.masked_fill(hidden, float("-inf"))
    log_total = scores.logsumexp(-1, keepdim=True)
    shares = torch.exp(scores - log_total.clamp(min=torch.finfo(scores.dtype).min))
    mixed = (shares.view(*rows.shape[:3], -1) @ values).view(queries.shape)
    return Part(mixed, log_total)


def join(parts: Part) -> Tensor:
    """Weigh the parts by what each holds of the whole. Their mixes and totals are stacked on a first axis.

    -> (batch, heads, q_seq, head_dim)
    """
    shares = parts.log_total.softmax(0)
    joined: Tensor = (parts.mixed * shares).sum(0)
    return joined


def stack(parts: list[Part]) -> Part:
    """Several parts on a new first axis, for `join`."""
    return Part(torch.stack([one.mixed for one in parts]), torch.stack([one.log_total for one in parts]))
