"""Packed forms of weights that are on no uniform grid: NF4, FP8 and SpQR, with as many bytes as their methods promise.

NF4 keeps two codes a byte, its rounded scales as int8. FP8's codes are bytes already. SpQR keeps its grid's codes as
`packed.py` does (3 bits take 4), the codes of its scales packed too, and outliers as rows of 16-bit columns and values.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.quantization import fp8, nf4, spqr
from reference_impls.quantization.fp8 import Fp8Weight
from reference_impls.quantization.grid import GridWeight
from reference_impls.quantization.nf4 import SCALES_PER_GROUP, Nf4Weight, RoundedScales
from reference_impls.quantization.packed import PackedWeight, pack_codes, unpack_codes
from reference_impls.quantization.spqr import SparseAndGrid, TwoLevel


@dataclass(frozen=True)
class PackedNf4:
    """The stored form of an Nf4Weight."""

    codes: Tensor  # (out, in / 2), uint8
    absmax: Tensor  # (out, groups): float32, or int8 codes where scales are rounded
    step: Tensor | None  # (runs, 1), float32; None: scales are not rounded
    mean: Tensor | None  # as step
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.codes.shape[0], self.codes.shape[1] * 2


@dataclass(frozen=True)
class PackedSparse:
    """The stored form of a SparseAndGrid whose scales are rounded."""

    codes: Tensor  # (out, in * stored_bits / 8), uint8
    scale: Tensor  # codes of scales: (groups, out * stored_bits / 8), uint8
    scale_ends: Tensor  # (2, groups, out / scale_group, 1): step and low
    zero: Tensor | None  # as scale; None: symmetric
    zero_ends: Tensor | None
    counts: Tensor  # (out,), int32: outliers of each row
    columns: Tensor  # (outliers,), int16: their columns, those from 32768 on as negative numbers
    values: Tensor  # (outliers,)
    bits: int
    scale_bits: int
    scale_group: int
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return len(self.counts), unpacked_width(self.codes, self.bits)


Packed = PackedNf4 | PackedSparse | Fp8Weight


def unpacked_width(codes: Tensor, bits: int) -> int:
    """How many codes stand in a row. codes: (out, bytes)"""
    return int(unpack_codes(codes[:1], bits).shape[1])


def nbytes(packed: Packed | PackedWeight) -> int:
    """Bytes of all tensors of a packed record."""
    return sum(tensor.nbytes for tensor in tensors_of(packed).values())


def tensors_of(packed: object) -> dict[str, Tensor]:
    """The tensors of a packed record, by field."""
    found = {field.name: getattr(packed, field.name) for field in fields(packed)}  # type: ignore[arg-type]
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def can_pack(quantized: object) -> bool:
    """Whether `pack_record` knows this record."""
    if isinstance(quantized, SparseAndGrid):
        return quantized.scale_codes is not None
    return isinstance(quantized, Nf4Weight | Fp8Weight)


def pack_record(quantized: object) -> Packed:
    """A record of nf4, fp8 or spqr in its packed form. Raises ValueError for others, and for SpQR without rounded
    scales, whose small groups make it larger than it was."""
    if not can_pack(quantized):
        raise ValueError(f"{type(quantized).__name__}: packing is for nf4, fp8 and spqr with scale_bits")
    if isinstance(quantized, Nf4Weight):
        return _pack_nf4(quantized)
    return quantized if isinstance(quantized, Fp8Weight) else _pack_sparse(quantized)  # type: ignore[arg-type]


def _pack_nf4(quantized: Nf4Weight) -> PackedNf4:
    out, groups, _ = quantized.codes.shape
    codes = pack_codes(quantized.codes.flatten(1), 4)
    scales = quantized.absmax
    if isinstance(scales, Tensor):
        return PackedNf4(codes, scales.view(out, groups), None, None, quantized.dtype)
    kept = scales.codes.flatten()[: out * groups].view(out, groups).clone()  # without the padding of the last run
    return PackedNf4(codes, kept, scales.step, scales.mean, quantized.dtype)


def _unpack_nf4(packed: PackedNf4) -> Nf4Weight:
    out, groups = packed.absmax.shape
    codes = unpack_codes(packed.codes, 4).view(out, groups, -1)
    if packed.step is None or packed.mean is None:
        return Nf4Weight(codes, packed.absmax.view(out, groups, 1), packed.dtype)
    runs = torch.zeros(packed.step.numel() * SCALES_PER_GROUP, dtype=torch.int8, device=codes.device)
    runs[: out * groups] = packed.absmax.flatten()
    scales = RoundedScales(runs.view(-1, SCALES_PER_GROUP), packed.step, packed.mean)
    return Nf4Weight(codes, scales, packed.dtype)


def _pack_sparse(quantized: SparseAndGrid) -> PackedSparse:
    out, width = quantized.shape
    if width > 2**16:
        raise ValueError(f"columns of outliers have 16 bits: in must be at most {2**16}, got {width}")
    assert quantized.scale_codes is not None
    assert quantized.scale_bits is not None
    scale, scale_ends = _pack_scales(quantized.scale_codes, quantized.scale_bits)
    zeros = quantized.zero_codes
    zero, zero_ends = (None, None) if zeros is None else _pack_scales(zeros, quantized.scale_bits)
    return PackedSparse(
        codes=pack_codes(quantized.grid.codes.flatten(1), quantized.grid.bits),
        scale=scale,
        scale_ends=scale_ends,
        zero=zero,
        zero_ends=zero_ends,
        counts=torch.bincount(quantized.positions // width, minlength=out).to(torch.int32),
        columns=(quantized.positions % width).to(torch.int16),  # wraps above 32767
        values=quantized.values,
        bits=quantized.grid.bits,
        scale_bits=quantized.scale_bits,
        scale_group=quantized.scale_group,
        dtype=quantized.grid.dtype,
    )


def _pack_scales(scales: TwoLevel, bits: int) -> tuple[Tensor, Tensor]:
    codes = scales.codes.flatten(1)
    missing = -codes.shape[1] % 8  # so that the last byte is full
    return pack_codes(nn.functional.pad(codes, (0, missing)), bits), torch.stack([scales.step, scales.low])


def _unpack_scales(packed: Tensor, ends: Tensor, bits: int, scale_group: int) -> TwoLevel:
    rows = ends.shape[2] * scale_group
    codes = unpack_codes(packed, bits)[:, :rows].reshape(ends.shape[1], -1, scale_group)
    return TwoLevel(codes, ends[0], ends[1])


def _unpack_sparse(packed: PackedSparse) -> SparseAndGrid:
    scales = _unpack_scales(packed.scale, packed.scale_ends, packed.scale_bits, packed.scale_group)
    scale, zeros = scales.restore(), None
    zero_point = torch.full_like(scale, 2 ** (packed.bits - 1))
    if packed.zero is not None and packed.zero_ends is not None:
        zeros = _unpack_scales(packed.zero, packed.zero_ends, packed.scale_bits, packed.scale_group)
        zero_point = zeros.restore()
    out, width = packed.shape
    codes = unpack_codes(packed.codes, packed.bits).view(out, scale.shape[1], -1)
    grid = GridWeight(codes, scale, zero_point, packed.bits, packed.zero is None, packed.dtype)
    rows = torch.arange(out, device=codes.device).repeat_interleave(packed.counts.long())
    positions = rows * width + (packed.columns.long() & 0xFFFF)
    return SparseAndGrid(grid, positions, packed.values, packed.scale_bits, packed.scale_group, scales, zeros)


def unpack_record(packed: Packed) -> Nf4Weight | SparseAndGrid | Fp8Weight:
    """The record again."""
    if isinstance(packed, PackedNf4):
        return _unpack_nf4(packed)
    return packed if isinstance(packed, Fp8Weight) else _unpack_sparse(packed)


def dequantize_record(packed: Packed) -> Tensor:
    """-> (out, in), what the method's own dequantize gives"""
    record = unpack_record(packed)
    if isinstance(record, Nf4Weight):
        return nf4.dequantize(record)
    return fp8.dequantize(record) if isinstance(record, Fp8Weight) else spqr.dequantize(record)


class RecordLinear(nn.Module):
    """A linear layer that keeps a packed record. Effect: packed (bytes saved; each call dequantizes)."""

    effect = "packed"

    def __init__(
        self, packed: Packed, bias: Tensor | None = None, quantize_input: Callable[[Tensor, Any], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = packed.shape
        self._record, self.quantize_input = packed, quantize_input
        for name, tensor in tensors_of(packed).items():
            self.register_buffer(name, tensor)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @property
    def packed(self) -> Packed:
        """The record, sharing this layer's buffers, wherever they were moved."""
        held = {field.name: getattr(self._record, field.name) for field in fields(self._record)}
        return type(self._record)(**held | {name: getattr(self, name) for name in tensors_of(self._record)})

    @property
    def nbytes(self) -> int:
        """Bytes of the stored weight, without bias."""
        return nbytes(self.packed)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (batch.., in) -> (batch.., out)"""
        packed = self.packed
        if self.quantize_input is not None:
            inputs = self.quantize_input(inputs, unpack_record(packed))
        bias: Any = self.bias
        return linear(inputs, dequantize_record(packed).to(inputs.dtype), bias)
