"""Decode attention through a block table on any CPU: loops in C++, compiled when first asked for.

Paper: arXiv 2309.06180, section 4.1 (PagedAttention); 2205.14135, algorithm 1 (the online softmax).
Idea: at batch 1 time is the bytes of the cache; one pass over blocks where they lie reads them once and writes nothing,
    and the heads that share keys are served while these are in the nearest cache.
Symbols: as each tile of tokens comes: o <- o * exp(m - m') + sum of exp(score - m') * v, the same for the total.
Simplified: plain loops, one query a sequence, float32 and bfloat16; a sequence and head of keys is one piece of work.
Differs: nothing.
Cost: keys and values read once, 4 * heads * head_dim * kv_seq FLOPs, one exponential a head and token.
Checked against: gathering, then softmax attention in float64.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reference_impls import cpp
from reference_impls.attention.paged_decode import Blocks, CodeBlocks, Rows
from reference_impls.attention.parts import Part

SOURCE = Path(__file__).with_suffix(".cpp")
DTYPES = (torch.float32, torch.bfloat16)


@cache
def _function() -> Any:
    function = cpp.library(SOURCE).paged_decode
    function.argtypes, function.restype = [*[cpp.POINTER] * 7, *[cpp.NUMBER] * 10, cpp.FLOAT, cpp.THREADS], None
    return function


def obstacle(blocks: Blocks | CodeBlocks) -> str | None:
    """Why the loops cannot serve these blocks here, or None."""
    if isinstance(blocks, CodeBlocks):
        return "reads numbers only, these are codes"
    if blocks.keys.device.type != "cpu":
        return f"needs blocks on the CPU, they are on {blocks.keys.device.type}"
    if blocks.keys.dtype not in DTYPES:
        return f"needs float32 or bfloat16, got {blocks.keys.dtype}"
    if blocks.keys.stride() != blocks.values.stride() or blocks.keys.stride(-1) != 1:
        return "needs head_dim to lie together, and keys and values to lie alike"
    return cpp.obstacle(SOURCE)


def decode(queries: Tensor, blocks: Blocks, rows: Rows) -> Part:
    """One new query a sequence, over its blocks.

    queries: (batch, heads, 1, head_dim) -> mixed, log_total in float32
    """
    batch, heads, _, dim = queries.shape
    held, wide = blocks.keys, queries.float().contiguous()
    table, lengths = rows.table.long().contiguous(), rows.lengths.long().contiguous()
    mixed, log_total = torch.empty_like(wide), wide.new_empty(batch, heads, 1, 1)
    at = [tensor.data_ptr() for tensor in (wide, held, blocks.values, table, lengths, mixed, log_total)]
    sizes = batch, heads, held.shape[2], dim, table.shape[1], held.shape[1], *held.stride()[:3]
    _function()(*at, *sizes, held.dtype == torch.bfloat16, dim**-0.5, torch.get_num_threads())
    return Part(mixed, log_total)
