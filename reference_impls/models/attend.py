"""Scaled dot-product attention with grouped queries, for prefill and for decode.

Paper: arXiv 2305.13245, section 2.2 (grouped-query attention); 1706.03762, eq. 1 (the product itself).
Idea: several query heads share one key/value head; stacked as rows of one matrix they make decode two products.
Symbols: nothing beyond the axes' names.
Simplified: nothing is fused, so decode writes its scores to memory; no dropout and no additive bias.
Differs: 2305.13245 pools the heads of a trained model; here the model has grouped heads from the start.
Cost: decode reads each key and value once, 2 * kv_heads * kv_seq * head_dim numbers, and writes heads * kv_seq scores.
Checked against: scaled_dot_product_attention on repeated heads; a loop over positions.
"""

import torch
from torch import Tensor
from torch.nn import functional

GROUPED_MAX_QUERIES = 32
"""Up to this many new positions (decode, tree verification) the scores are small enough to be written out."""


def causal_mask(q_seq: int, kv_seq: int, valid: Tensor | None = None, device: torch.device | None = None) -> Tensor:
    """The newest `q_seq` of `kv_seq` positions see themselves and what came before; True = may be seen.

    valid: (batch, kv_seq), False at padding; every position still sees itself, so that no row is empty.
    -> (q_seq, kv_seq), or (batch, 1, q_seq, kv_seq) where `valid` is given
    """
    device = device if valid is None else valid.device
    own = torch.arange(kv_seq - q_seq, kv_seq, device=device)[:, None]
    slots = torch.arange(kv_seq, device=device)
    if valid is None:
        return slots <= own
    return ((slots <= own) & valid[:, None, None, :]) | (slots == own)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention by whichever of the two ways is faster; without a mask it is causal, aligned at the last position.

    queries: (batch, heads, q_seq, head_dim); keys, values: (batch, kv_heads, kv_seq, head_dim);
    mask: bool, broadcastable to (batch, heads, q_seq, kv_seq), True = may be seen, in every row at least once
    -> (batch, heads, q_seq, head_dim)
    """
    if queries.shape[2] <= GROUPED_MAX_QUERIES:
        return grouped_attention(queries, keys, values, mask)
    return fused_attention(queries, keys, values, mask)


def fused_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """The way for prefill: torch's fused kernel, which never writes the scores. Shapes as in `attend`."""
    groups = queries.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
    q_seq, kv_seq = queries.shape[2], keys.shape[2]
    if mask is None and q_seq != kv_seq:
        mask = causal_mask(q_seq, kv_seq, device=queries.device)
    return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=mask is None)


def grouped_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """The way for decode: one product for the scores and one for the mix. Shapes as in `attend`."""
    batch, heads, q_seq, head_dim = queries.shape
    kv_heads, kv_seq = keys.shape[1], keys.shape[2]
    # (batch, heads, q_seq, head_dim) -> (batch, kv_heads, groups * q_seq, head_dim): the heads of a group become rows
    stacked = queries.reshape(batch, kv_heads, -1, head_dim) * head_dim**-0.5
    scores = (stacked @ keys.transpose(2, 3)).view(batch, heads, q_seq, kv_seq)
    if mask is None and q_seq > 1:
        mask = causal_mask(q_seq, kv_seq, device=queries.device)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    wide = torch.promote_types(scores.dtype, torch.float32)  # a sum of thousands of bfloat16 terms loses digits
    shares = scores.softmax(-1, dtype=wide).to(values.dtype)
    mixed: Tensor = shares.view(batch, kv_heads, -1, kv_seq) @ values
    return mixed.view(queries.shape)
