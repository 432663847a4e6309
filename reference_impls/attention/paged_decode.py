"""Decode attention that reads keys and values through a block table, as numbers or as codes.

Paper: arXiv 2309.06180, section 4.1 (PagedAttention); 2402.02750, section 3.3 (codes read by the attention itself).
Idea: a step reads each key once; gathering the blocks first reads and writes them once more, so read them in place, and
    leave codes packed until they are in registers.
Symbols: q . k = sum of (q * scale) * code + q . offset, with one scale and offset a channel and block.
Simplified: one query a sequence.
Differs: a block of codes is one group of KIVI's; the newest tokens, which are no codes yet, come in as a part to join.
Cost: bytes of the blocks, once; the kernel adds splits * heads * (head_dim + 1) float32 numbers.
Checked against: gathering, then softmax attention; under Triton's interpreter and where there is a GPU, the kernel.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor

from reference_impls.attention.parts import Part, join, part_of, stack
from reference_impls.kv_cache.kivi import dequantize
from reference_impls.kv_cache.paged import PagedCache
from reference_impls.models.attend import attend
from reference_impls.models.decoder import Attend, Block, Decoder

PATHS = ("cpu", "triton", "gather")
"""Loops in C++ for CPUs, the kernel for GPUs, and gathering first, which always works."""


@dataclass(frozen=True)
class Blocks:
    """Numbers in blocks. keys, values: (blocks, tokens_per_block, kv_heads, head_dim), any strides."""

    keys: Tensor
    values: Tensor

    @property
    def tokens_per_block(self) -> int:
        """Of every block."""
        return self.keys.shape[1]


@dataclass(frozen=True)
class CodeBlocks:
    """KIVI's codes, a group a block: what `kv_cache.compose` keeps of a layer.

    key_codes: (blocks, kv_heads, head_dim, tokens_per_block * bits / 8), scale and offset with a last axis of 1;
    value_codes: (blocks, kv_heads, tokens_per_block, groups, group_size * bits / 8), scale and offset likewise
    """

    key_codes: Tensor
    key_scale: Tensor
    key_offset: Tensor
    value_codes: Tensor
    value_scale: Tensor
    value_offset: Tensor
    bits: int

    @property
    def tokens_per_block(self) -> int:
        """Of every block."""
        return self.value_codes.shape[2]


@dataclass(frozen=True)
class Rows:
    """Which blocks each sequence has. table: (batch, row_blocks) ; lengths: (batch,), tokens, at least 1 each."""

    table: Tensor
    lengths: Tensor


def open_codes(blocks: CodeBlocks) -> Blocks:
    """The numbers that codes stand for."""
    keys = dequantize(blocks.key_codes, blocks.key_scale, blocks.key_offset, blocks.bits)
    values = dequantize(blocks.value_codes, blocks.value_scale, blocks.value_offset, blocks.bits).flatten(-2)
    return Blocks(keys.permute(0, 3, 1, 2), values.transpose(1, 2))


def reference(queries: Tensor, blocks: Blocks | CodeBlocks, rows: Rows) -> Part:
    """Gather, then attend: the oracle, and the way without a kernel. queries: (batch, heads, 1, head_dim)"""
    plain = open_codes(blocks) if isinstance(blocks, CodeBlocks) else blocks
    batch = len(rows.table)
    # (batch, row_blocks, tokens_per_block, kv_heads, head_dim) -> (batch, kv_heads, kv_seq, head_dim)
    keys, values = (
        part[rows.table].reshape(batch, -1, *part.shape[2:]).transpose(1, 2).to(queries.dtype)
        for part in (plain.keys, plain.values)
    )
    hidden = torch.arange(keys.shape[2], device=keys.device) >= rows.lengths[:, None, None, None]
    return part_of(queries, keys, values, hidden)


def _kernel(path: str) -> Any:
    """The module beside this one; importing Triton's imports Triton, so only when asked."""
    return import_module(f"{__name__}_{path}")


def obstacle(blocks: Blocks | CodeBlocks, path: str) -> str | None:
    """Why this path cannot serve these blocks on this machine, or None. Raises ValueError for an unknown path."""
    if path not in PATHS:
        raise ValueError(f"path is one of {', '.join(PATHS)}, got {path!r}")
    if path == "gather":
        return None
    reason: str | None = _kernel(path).obstacle(blocks)
    return reason


def choose_path(blocks: Blocks | CodeBlocks) -> str:
    """The first path that can serve them: a kernel, or gathering."""
    return next(path for path in PATHS if obstacle(blocks, path) is None)


def decode_part(queries: Tensor, blocks: Blocks | CodeBlocks, rows: Rows, path: str | None = None) -> Part:
    """One new query a sequence, over its blocks. path: one of PATHS, by default the first that can.

    queries: (batch, heads, 1, head_dim). Raises ValueError where the path asked for cannot serve.
    """
    if path is None:
        path = choose_path(blocks)
    elif (reason := obstacle(blocks, path)) is not None:
        raise ValueError(f"path {path} {reason}")
    if path == "gather":
        return reference(queries, blocks, rows)
    part: Part = _kernel(path).decode(queries, blocks, rows)
    return part


def decode(
    queries: Tensor,
    blocks: Blocks | CodeBlocks,
    rows: Rows,
    newest: tuple[Tensor, Tensor] | None = None,
    path: str | None = None,
) -> Tensor:
    """Over the blocks and, beside them, the newest tokens of every row where those are not in blocks yet.

    queries: (batch, heads, 1, head_dim); newest: keys, values: (batch, kv_heads, recent, head_dim);
    path: as in `decode_part` -> (batch, heads, 1, head_dim)
    """
    part = decode_part(queries, blocks, rows, path)
    if newest is None:
        return part.mixed.to(queries.dtype)
    late = part_of(queries, *newest)
    wide = [Part(one.mixed.float(), one.log_total.float()) for one in (part, late)]
    return join(stack(wide)).to(queries.dtype)


@contextmanager
def in_place(model: Decoder, cache: PagedCache) -> Iterator[str]:
    """Let passes of one new token a row read keys and values where they lie, for as long as this lasts.

    Longer passes, and all of them where no kernel serves the pool, gather as ever. -> the path that is used
    """
    held = [Blocks(keys, values) for keys, values in cache.pool.layers]
    path = choose_path(held[0])
    if path == "gather":
        yield path
        return
    layers = [cast("Block", block).attention for block in model.blocks]
    if any(layer.attend is not attend for layer in layers):
        raise ValueError("the model attends in a way of its own, which reading in place would pass over")
    for layer, blocks in zip(layers, held, strict=True):
        layer.attend = _reader(cache, _kernel(path).decode, blocks)
    cache.gathers = False
    try:
        yield path
    finally:
        cache.gathers = True
        for layer in layers:
            layer.attend = attend


def _reader(cache: PagedCache, kernel: Callable[..., Part], blocks: Blocks) -> Attend:
    def read(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        if queries.shape[2] > 1:
            return attend(queries, keys, values, mask)
        if mask is not None and mask is not cache.mask:
            raise ValueError("reading in place knows no mask but the one of the cache's own `inputs`")
        step = cache.newest
        return kernel(queries, blocks, Rows(step.table, step.ends)).mixed.to(queries.dtype)

    return read
