"""Triton kernels for decode attention over blocks: the keys split among programs, the heads of a group in one tile.

Paper: arXiv 2309.06180, section 5.1 (kernels); "Flash-Decoding for long-context inference", PyTorch blog, 2023.
Idea: a program takes one sequence, one kv head and one stretch of its tokens, and serves all query heads that share
    them, so that each key and value leaves memory once; codes become numbers in registers.
Symbols: m, l, o as in `flash.py`, for the heads of a group.
Simplified: tile sizes by rule and not tuned; parts are joined by torch operations in a second step.
Differs: nothing is reordered in memory: it reads the layouts of `kv_cache.paged` and `kv_cache.compose`.
Cost: bytes of keys and values once; splits * heads * (head_dim + 1) float32 numbers written and read.
Checked against: `paged_decode.reference`, under Triton's interpreter; not yet run on a GPU.
"""

# Triton's compile-time constants are written in capitals, and its decorator has no types.
# ruff: noqa: N803, N806
# mypy: disable-error-code="untyped-decorator, no-untyped-def, unused-ignore"

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from reference_impls.attention.paged_decode import Blocks, CodeBlocks, Rows
from reference_impls.attention.parts import Part, join

_HAS_TRITON = find_spec("triton") is not None
if _HAS_TRITON:
    import triton  # type: ignore[import-not-found]
    import triton.language as tl  # type: ignore[import-not-found]

    @triton.jit
    def _softer(m, score):
        """The online softmax, first half. -> new maximum, shares of the new scores, what earlier ones shrink by"""
        new_m = tl.maximum(m, tl.max(score, 1))
        return new_m, tl.exp(score - new_m[:, None]), tl.exp(m - new_m)

    @triton.jit
    def _mixed_in(total, o, share, shrink, v):
        """Its second half: total and mix with the new values."""
        mix = tl.dot(share.to(v.dtype), v, input_precision="ieee")
        return total * shrink + tl.sum(share, 1), o * shrink[:, None] + mix

    @triton.jit
    def _store(mixed, log_total, row, inside, m, total, o, head, d, GROUP: tl.constexpr, DIM: tl.constexpr):
        """Parts of the heads of a group, in their rows."""
        whole = tl.where(total > 0, total, 1.0)
        tl.store(mixed + row[:, None] * DIM + d[None, :], o / whole[:, None], mask=inside)
        tl.store(log_total + row, tl.where(total > 0, m + tl.log(whole), float("-inf")), mask=head < GROUP)

    @triton.jit
    def _over_numbers(
        queries, keys, values, table, lengths, mixed, log_total,  # shapes: see `decode`
        row_blocks, block_stride, token_stride, head_stride, scale, split_tokens,
        GROUP: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, WIDE: tl.constexpr,
        PER_BLOCK: tl.constexpr, TILE: tl.constexpr,
    ):  # fmt: skip
        """One sequence, kv head and stretch of tokens. WIDE: DIM up to a power of two; ROWS: GROUP likewise."""
        sequence, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
        head, d = tl.arange(0, ROWS), tl.arange(0, WIDE)
        first = (sequence * tl.num_programs(1) + kv_head) * GROUP
        inside = (head[:, None] < GROUP) & (d[None, :] < DIM)
        q = tl.load(queries + (first + head[:, None]) * DIM + d[None, :], mask=inside, other=0)
        m = tl.full((ROWS,), float("-inf"), tl.float32)
        l = tl.zeros((ROWS,), tl.float32)  # noqa: E741
        o = tl.zeros((ROWS, WIDE), tl.float32)
        start = split * split_tokens
        end = tl.minimum(start + split_tokens, tl.load(lengths + sequence))
        for at in range(start, end, TILE):
            token = at + tl.arange(0, TILE)
            ok = token < end
            block = tl.load(table + sequence * row_blocks + token // PER_BLOCK, mask=ok, other=0).to(tl.int64)
            where = block * block_stride + (token % PER_BLOCK) * token_stride + kv_head * head_stride
            seen = ok[:, None] & (d[None, :] < DIM)
            k = tl.load(keys + where[:, None] + d[None, :], mask=seen, other=0)  # (TILE, WIDE)
            score = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
            score = tl.where(ok[None, :], score, float("-inf"))
            m, share, shrink = _softer(m, score)
            v = tl.load(values + where[:, None] + d[None, :], mask=seen, other=0)
            l, o = _mixed_in(l, o, share, shrink, v)  # noqa: E741
        row = split * tl.num_programs(0) * tl.num_programs(1) * GROUP + first + head
        _store(mixed, log_total, row, inside, m, l, o, head, d, GROUP, DIM)

    @triton.jit
    def _over_codes(
        queries, key_codes, key_scale, key_offset, value_codes, value_scale, value_offset,
        table, lengths, mixed, log_total, row_blocks, kv_heads, scale, split_tokens,
        GROUP: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, WIDE: tl.constexpr,
        TILE: tl.constexpr, BITS: tl.constexpr, VALUE_GROUP: tl.constexpr,
    ):  # fmt: skip
        """As `_over_numbers`, a block of TILE tokens at a time; scales of keys are folded into the queries."""
        sequence, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
        PER_BYTE: tl.constexpr = 8 // BITS
        GROUPS: tl.constexpr = DIM // VALUE_GROUP
        head, d, t = tl.arange(0, ROWS), tl.arange(0, WIDE), tl.arange(0, TILE)
        first = (sequence * tl.num_programs(1) + kv_head) * GROUP
        inside = (head[:, None] < GROUP) & (d[None, :] < DIM)
        q = tl.load(queries + (first + head[:, None]) * DIM + d[None, :], mask=inside, other=0)
        m = tl.full((ROWS,), float("-inf"), tl.float32)
        l = tl.zeros((ROWS,), tl.float32)  # noqa: E741
        o = tl.zeros((ROWS, WIDE), tl.float32)
        start = split * split_tokens
        end = tl.minimum(start + split_tokens, tl.load(lengths + sequence))
        for at in range(start, end, TILE):
            ok = at + t < end
            block = tl.load(table + sequence * row_blocks + at // TILE).to(tl.int64)
            place = block * kv_heads + kv_head
            channel = place * DIM + d
            k_step = tl.load(key_scale + channel, mask=d < DIM, other=0).to(tl.float32)
            k_zero = tl.load(key_offset + channel, mask=d < DIM, other=0).to(tl.float32)
            k_bytes = tl.load(
                key_codes + channel[:, None] * (TILE // PER_BYTE) + t[None, :] // PER_BYTE,
                mask=d[:, None] < DIM, other=0,
            )  # fmt: skip
            k = (k_bytes >> ((t[None, :] % PER_BYTE) * BITS).to(tl.uint8)) & ((1 << BITS) - 1)  # (WIDE, TILE)
            stepped = (q.to(tl.float32) * k_step[None, :]).to(q.dtype)
            score = tl.dot(stepped, k.to(q.dtype), input_precision="ieee")
            score = (score + tl.sum(q.to(tl.float32) * k_zero[None, :], 1)[:, None]) * scale
            score = tl.where(ok[None, :], score, float("-inf"))
            m, share, shrink = _softer(m, score)
            row = place * TILE + t
            group = row[:, None] * GROUPS + d[None, :] // VALUE_GROUP
            fits = (t[:, None] < TILE) & (d[None, :] < DIM)
            v_step = tl.load(value_scale + group, mask=fits, other=0).to(tl.float32)
            v_zero = tl.load(value_offset + group, mask=fits, other=0).to(tl.float32)
            v_bytes = tl.load(
                value_codes + row[:, None] * (DIM // PER_BYTE) + d[None, :] // PER_BYTE, mask=fits, other=0
            )
            v_code = (v_bytes >> ((d[None, :] % PER_BYTE) * BITS).to(tl.uint8)) & ((1 << BITS) - 1)
            v = (v_code.to(tl.float32) * v_step + v_zero).to(q.dtype)
            l, o = _mixed_in(l, o, share, shrink, v)  # noqa: E741
        target = split * tl.num_programs(0) * tl.num_programs(1) * GROUP + first + head
        _store(mixed, log_total, target, inside, m, l, o, head, d, GROUP, DIM)


def obstacle(blocks: Blocks | CodeBlocks) -> str | None:
    """Why the kernel cannot serve these blocks here, or None."""
    if not _HAS_TRITON:
        return "needs triton: pip install triton"
    first = blocks.value_codes if isinstance(blocks, CodeBlocks) else blocks.keys
    if first.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"needs a CUDA GPU, the blocks are on {first.device.type}"
    if isinstance(blocks, CodeBlocks):
        wide = blocks.tokens_per_block
        return None if wide >= 16 and wide & (wide - 1) == 0 else f"needs blocks of 16, 32, ... tokens, got {wide}"
    if blocks.keys.dtype == torch.float64:
        return "sums in float32, the blocks are torch.float64"
    return None if blocks.keys.stride(-1) == blocks.values.stride(-1) == 1 else "needs head_dim to lie together"


def decode(queries: Tensor, blocks: Blocks | CodeBlocks, rows: Rows) -> Part:
    """One new query a sequence, over its blocks.

    queries: (batch, heads, 1, head_dim) -> mixed, log_total in float32
    """
    batch, heads, _, dim = queries.shape
    codes = isinstance(blocks, CodeBlocks)
    kv_heads = blocks.key_codes.shape[1] if isinstance(blocks, CodeBlocks) else blocks.keys.shape[2]
    group, tile = heads // kv_heads, blocks.tokens_per_block if codes else 64
    splits, split_tokens = _splits(rows, batch * kv_heads, tile, blocks.tokens_per_block, queries.device)
    mixed = torch.empty(splits, batch, heads, 1, dim, dtype=torch.float32, device=queries.device)
    log_total = torch.empty(splits, batch, heads, 1, 1, dtype=torch.float32, device=queries.device)
    sizes = {"GROUP": group, "ROWS": max(16, _power(group)), "DIM": dim, "WIDE": max(16, _power(dim)), "TILE": tile}
    table, lengths = rows.table.int().contiguous(), rows.lengths.int()
    grid, inputs = (batch, kv_heads, splits), queries.contiguous()
    if isinstance(blocks, CodeBlocks):
        names = ("key_codes", "key_scale", "key_offset", "value_codes", "value_scale", "value_offset")
        held = [getattr(blocks, name) for name in names]
        _over_codes[grid](
            inputs, *(part.contiguous() for part in held), table, lengths, mixed, log_total,
            table.shape[1], kv_heads, dim**-0.5, split_tokens,
            BITS=blocks.bits, VALUE_GROUP=dim // blocks.value_codes.shape[3], **sizes,
        )  # fmt: skip
    else:
        strides = blocks.keys.stride()[:3]
        if blocks.values.stride()[:3] != strides:
            raise ValueError("keys and values must lie alike")
        _over_numbers[grid](
            inputs, blocks.keys, blocks.values, table, lengths, mixed, log_total,
            table.shape[1], *strides, dim**-0.5, split_tokens, PER_BLOCK=blocks.tokens_per_block, **sizes,
        )  # fmt: skip
    if splits == 1:
        return Part(mixed[0], log_total[0])
    return Part(join(Part(mixed, log_total)), log_total.logsumexp(0))


def _splits(rows: Rows, programs: int, tile: int, tokens_per_block: int, device: torch.device) -> tuple[int, int]:
    """Enough stretches to give every processor work, of whole tiles. -> how many, and the tokens of each"""
    processors = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4
    tiles = -(-rows.table.shape[1] * tokens_per_block // tile)
    wanted = max(1, min(tiles, 2 * processors // max(1, programs)))
    split_tokens = -(-tiles // wanted) * tile
    return -(-tiles * tile // split_tokens), split_tokens


def _power(size: int) -> int:
    """The next power of two."""
    return 1 << (size - 1).bit_length()
