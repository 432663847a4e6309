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

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from reference_impls.attention.parts import Part, join, part_of, stack
from reference_impls.kv_cache.kivi import dequantize


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
    """Gather, then attend: the oracle, and the way without Triton. queries: (batch, heads, 1, head_dim)"""
    plain = open_codes(blocks) if isinstance(blocks, CodeBlocks) else blocks
    batch = len(rows.table)
    # (batch, row_blocks, tokens_per_block, kv_heads, head_dim) -> (batch, kv_heads, kv_seq, head_dim)
    keys, values = (
        part[rows.table].reshape(batch, -1, *part.shape[2:]).transpose(1, 2).to(queries.dtype)
        for part in (plain.keys, plain.values)
    )
    hidden = torch.arange(keys.shape[2], device=keys.device) >= rows.lengths[:, None, None, None]
    return part_of(queries, keys, values, hidden)


def obstacle(blocks: Blocks | CodeBlocks) -> str | None:
    """Why the kernel cannot serve these blocks here, or None."""
    if find_spec("triton") is None:
        return "needs triton: pip install triton"
    reason: str | None = import_module("reference_impls.attention.paged_decode_triton").obstacle(blocks)
    return reason


def decode_part(queries: Tensor, blocks: Blocks | CodeBlocks, rows: Rows, kernel: bool | None = None) -> Part:
    """One new query a sequence, over its blocks. kernel None: where it can serve; False: never; True: or ValueError.

    queries: (batch, heads, 1, head_dim)
    """
    reason = "was not asked for" if kernel is False else obstacle(blocks)
    if reason is None:
        part: Part = import_module("reference_impls.attention.paged_decode_triton").decode(queries, blocks, rows)
        return part
    if kernel:
        raise ValueError(f"the kernel {reason}")
    return reference(queries, blocks, rows)


def decode(
    queries: Tensor,
    blocks: Blocks | CodeBlocks,
    rows: Rows,
    newest: tuple[Tensor, Tensor] | None = None,
    kernel: bool | None = None,
) -> Tensor:
    """Over the blocks and, beside them, the newest tokens of every row where those are not in blocks yet.

    queries: (batch, heads, 1, head_dim); newest: keys, values: (batch, kv_heads, recent, head_dim)
    -> (batch, heads, 1, head_dim)
    """
    part = decode_part(queries, blocks, rows, kernel)
    if newest is None:
        return part.mixed.to(queries.dtype)
    late = part_of(queries, *newest)
    wide = [Part(one.mixed.float(), one.log_total.float()) for one in (part, late)]
    return join(stack(wide)).to(queries.dtype)
