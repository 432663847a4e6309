"""Triton kernels for packed weights and 1 to 64 rows of inputs: W4A16, W8A16, and W8A8 beside them.

Paper: arXiv 2210.17323, section 3 (dequantizing inside the product); 2306.00978, section 4.
Idea: decoding reads every weight once for a few rows, so time is bytes; codes are read packed and never written back.
Symbols: y = sum over groups of S * (x . codes - Z * sum(x)), so that scales touch sums and not single weights.
Simplified: one layout (codes of a row lie together), block sizes by rule and not tuned; no asynchronous copies by hand.
Differs: nothing is reordered in memory, so the container of `packed.py` is read as it is.
Cost: bytes of codes, scales and zero_points once per call and per 64 rows; float32 sums of splits * rows * out.
Checked against: `reference` below (dequantize, then multiply), under Triton's interpreter; not yet run on a GPU.
"""

# Triton's compile-time constants are written in capitals, and its decorator has no types.
# ruff: noqa: N803, N806
# mypy: disable-error-code="untyped-decorator, no-untyped-def, unused-ignore"

import os
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from reference_impls.quantization.grid import GridConfig, choose_scale, decode_weight, round_to_codes
from reference_impls.quantization.packed import PackedWeight, unpack

_HAS_TRITON = find_spec("triton") is not None
if _HAS_TRITON:
    import triton  # type: ignore[import-not-found]
    import triton.language as tl  # type: ignore[import-not-found]

    @triton.jit
    def _packed_product(
        inputs, codes, scale, zero_point, sums,  # shapes: see `multiply`
        rows, width, out, groups, group_size, split_size,
        BITS: tl.constexpr, MIDDLE: tl.constexpr, ROWS: tl.constexpr, OUT: tl.constexpr, WIDTH: tl.constexpr,
    ):  # fmt: skip
        """One block of rows by OUT outputs, over one split of the inputs. MIDDLE: zero_point if symmetric, else -1."""
        row = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
        column = tl.program_id(0) * OUT + tl.arange(0, OUT)
        start = tl.program_id(1) * split_size
        PER_BYTE: tl.constexpr = 8 // BITS
        BYTES: tl.constexpr = WIDTH // PER_BYTE
        byte = tl.arange(0, BYTES)
        total = tl.zeros((ROWS, OUT), dtype=tl.float32)
        row_ok, column_ok = row[:, None] < rows, column[:, None] < out
        for at in range(start, tl.minimum(start + split_size, width), WIDTH):
            where = column[:, None].to(tl.int64) * (width // PER_BYTE) + at // PER_BYTE + byte[None, :]
            packed = tl.load(codes + where, mask=column_ok, other=0)  # (OUT, BYTES)
            product = tl.zeros((ROWS, OUT), dtype=tl.float32)
            input_sum = tl.zeros((ROWS,), dtype=tl.float32)
            for place in tl.static_range(PER_BYTE):  # the place-th code of every byte, with its inputs
                code = (packed >> (place * BITS)) & ((1 << BITS) - 1)
                x = tl.load(inputs + row[:, None] * width + at + byte[None, :] * PER_BYTE + place, mask=row_ok, other=0)
                if ROWS == 1:
                    part = tl.sum(code.to(tl.float32) * x.to(tl.float32), axis=1)
                    product += part[None, :]
                else:
                    product += tl.dot(x, tl.trans(code.to(x.dtype)), input_precision="ieee")
                input_sum += tl.sum(x.to(tl.float32), axis=1)
            at_group = column * groups + at // group_size
            step = tl.load(scale + at_group, mask=column < out, other=0).to(tl.float32)
            if MIDDLE >= 0:
                total += step[None, :] * (product - MIDDLE * input_sum[:, None])
            else:
                zero = tl.load(zero_point + at_group, mask=column < out, other=0).to(tl.float32)
                total += step[None, :] * (product - zero[None, :] * input_sum[:, None])
        target = (tl.program_id(1) * rows + row[:, None]) * out + column[None, :]
        tl.store(sums + target, total, mask=row_ok & (column[None, :] < out))

    @triton.jit
    def _int8_product(
        inputs, codes, input_scale, scale, outputs,  # (rows, in) int8, (out, in), (rows,), (out,), (rows, out)
        rows, width, out, ROWS: tl.constexpr, OUT: tl.constexpr, WIDTH: tl.constexpr,
    ):  # fmt: skip
        """One block of rows by OUT outputs, summed in int32."""
        row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
        column = tl.program_id(0) * OUT + tl.arange(0, OUT)
        along = tl.arange(0, WIDTH)
        total = tl.zeros((ROWS, OUT), dtype=tl.int32)
        for at in range(0, width, WIDTH):
            inside = at + along < width
            x = tl.load(
                inputs + row[:, None] * width + at + along[None, :], mask=(row[:, None] < rows) & inside, other=0
            )
            where = column[None, :].to(tl.int64) * width + at + along[:, None]
            w = tl.load(codes + where, mask=(column[None, :] < out) & inside[:, None], other=0)
            total += tl.dot(x, (w.to(tl.int16) - 128).to(tl.int8), out_dtype=tl.int32)
        of_row = tl.load(input_scale + row, mask=row < rows, other=0)
        of_column = tl.load(scale + column, mask=column < out, other=0)
        result = total.to(tl.float32) * of_row[:, None] * of_column[None, :]
        target = row[:, None] * out + column[None, :]
        tl.store(outputs + target, result, mask=(row[:, None] < rows) & (column[None, :] < out))


def reference(inputs: Tensor, weight: PackedWeight) -> Tensor:
    """The oracle: dequantize, then multiply in float32. inputs: (rows, in) -> (rows, out), in the inputs' dtype"""
    plain = decode_weight(unpack(weight)).float()
    return (inputs.float() @ plain.T).to(inputs.dtype)


def multiply(inputs: Tensor, weight: PackedWeight) -> Tensor:
    """The same through the kernel. inputs: (rows, in), on the weight's grid -> (rows, out), in the inputs' dtype"""
    inputs = inputs.contiguous()
    rows, width = inputs.shape
    out, groups = weight.scale.shape
    blocks = _blocks(rows, out, width, weight.group_size, inputs.device)
    splits = -(-width // blocks["split_size"])
    sums = torch.empty(splits, rows, out, dtype=torch.float32, device=inputs.device)
    grid = (-(-out // blocks["OUT"]), splits, -(-rows // blocks["ROWS"]))
    symmetric = weight.zero_point is None
    middle = 2 ** (weight.bits - 1) if symmetric else -1
    zero_point = weight.scale if weight.zero_point is None else weight.zero_point
    _packed_product[grid](
        inputs, weight.codes, weight.scale, zero_point, sums, rows, width, out, groups, weight.group_size,
        BITS=weight.bits, MIDDLE=middle, **blocks,
    )  # fmt: skip
    return sums.sum(0).to(inputs.dtype)


def _blocks(rows: int, out: int, width: int, group_size: int, device: torch.device) -> dict[str, int]:
    """Block sizes: one group or its largest power of two at a time, and splits enough to give every processor work."""
    block_rows = 1 if rows == 1 else max(16, min(64, 1 << (rows - 1).bit_length()))
    block_width = min(256, group_size & -group_size)
    block_out = 16 if rows <= 16 else 32
    processors = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4
    tiles = -(-out // block_out) * -(-rows // block_rows)
    steps = width // block_width
    splits = max(1, min(steps, 4 * processors // tiles))
    split_size = -(-steps // splits) * block_width
    return {"ROWS": block_rows, "OUT": block_out, "WIDTH": block_width, "split_size": split_size}


def multiply_w8a8(inputs: Tensor, weight: PackedWeight) -> Tensor:
    """Inputs rounded per token, products summed in int32. inputs: (rows, in) -> (rows, out), in the inputs' dtype"""
    rows, width = inputs.shape
    out = weight.shape[0]
    config = GridConfig(8, None, symmetric=True)
    step, zero_point = choose_scale(inputs[None], config)
    rounded = _centre(round_to_codes(inputs[None], step, zero_point, config)[0])
    row_scale, scale = step.flatten().float(), weight.scale.flatten().float().expand(out).contiguous()
    outputs = torch.empty(rows, out, dtype=torch.float32, device=inputs.device)
    blocks = {"ROWS": max(16, min(64, 1 << (rows - 1).bit_length())), "OUT": 32, "WIDTH": 128}
    grid = (-(-out // blocks["OUT"]), -(-rows // blocks["ROWS"]))
    _int8_product[grid](rounded, weight.codes, row_scale, scale, outputs, rows, width, out, **blocks)
    return outputs.to(inputs.dtype)


def _centre(codes: Tensor) -> Tensor:
    """Unsigned codes of a symmetric grid as int8. codes: any shape, uint8 -> the same, int8"""
    return (codes.to(torch.int16) - 128).to(torch.int8)


def obstacle(weight: PackedWeight) -> str | None:
    """Why the weight_only kernel cannot serve this weight here; None: it can."""
    if weight.bits not in (4, 8):
        return f"needs 4 or 8 bits, got {weight.bits}"
    if weight.scale.shape[0] != weight.shape[0]:
        return "needs a scale for each row, got one per tensor"
    if weight.group_size & -weight.group_size < 32:
        return f"needs a group_size that is a multiple of 32, got {weight.group_size}"
    return _machine_obstacle(weight)


def obstacle_w8a8(weight: PackedWeight) -> str | None:
    """Why the W8A8 kernel cannot serve this weight here; None: it can."""
    if weight.bits != 8 or weight.group_size != weight.shape[1] or weight.zero_point is not None:
        return "needs 8 bits, one scale a row and a symmetric grid"
    return _machine_obstacle(weight)


def _machine_obstacle(weight: PackedWeight) -> str | None:
    if not _HAS_TRITON:
        return "needs triton, which is not installed"
    if weight.codes.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"needs a CUDA device (or TRITON_INTERPRET=1, to test), the weight is on {weight.codes.device}"
    return None


def prepare(weight: PackedWeight) -> Callable[[Tensor], Tensor]:
    """The kernel bound to a weight: inputs (rows, in) -> (rows, out)"""
    return lambda inputs: multiply(inputs, weight)


def prepare_w8a8(weight: PackedWeight) -> Callable[[Tensor], Tensor]:
    """The W8A8 kernel bound to a weight: inputs (rows, in) -> (rows, out)"""
    return lambda inputs: multiply_w8a8(inputs, weight)
