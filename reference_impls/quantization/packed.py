"""One packed container for weights on a uniform grid: real bytes, in memory and in a file.

Codes of 8 bits take a byte; codes of up to 4, 2 or 1 bits share one, the first in the lowest bits. Scales, and
zero_points where the grid is not symmetric, stay in the dtype they were chosen in. `PackedLinear` dequantizes and
multiplies: the reference for memory and for every faster path of `matmul.py`, and not fast itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.quantization.grid import GridWeight, decode_weight


@dataclass(frozen=True)
class PackedWeight:
    """The stored form of a GridWeight."""

    codes: Tensor  # (out, in * stored_bits / 8), uint8
    scale: Tensor  # (out or 1, groups or 1)
    zero_point: Tensor | None  # as scale; None: symmetric
    input_scale: Tensor | None  # (in,)
    columns: Tensor | None  # (in,), int32
    bits: int
    group_size: int
    dtype: torch.dtype  # of the weight it decodes to

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.codes.shape[0], self.codes.shape[1] * 8 // stored_bits(self.bits)

    @property
    def nbytes(self) -> int:
        """Bytes of all its tensors."""
        held = (self.codes, self.scale, self.zero_point, self.input_scale, self.columns)
        return sum(tensor.nbytes for tensor in held if tensor is not None)


def stored_bits(bits: int) -> int:
    """Bits that a code takes in a byte: the next of 1, 2, 4, 8, so that no code crosses bytes (3 bits take 4)."""
    return next(size for size in (1, 2, 4, 8) if size >= bits)


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """codes: (out, in) uint8, each below 2**bits -> (out, in * stored_bits / 8) uint8"""
    per_byte = 8 // stored_bits(bits)
    if codes.shape[-1] % per_byte:
        raise ValueError(f"{per_byte} codes share a byte: in must be a multiple of it, got {codes.shape[-1]}")
    packed = torch.zeros_like(codes[..., ::per_byte])
    for place in range(per_byte):
        packed |= codes[..., place::per_byte] << (place * stored_bits(bits))
    return packed


def unpack_codes(packed: Tensor, bits: int) -> Tensor:
    """packed: (out, in * stored_bits / 8) uint8 -> codes: (out, in) uint8"""
    size = stored_bits(bits)
    places = [(packed >> shift) & (2**size - 1) for shift in range(0, 8, size)]
    return torch.stack(places, -1).flatten(-2)


def pack(quantized: GridWeight) -> PackedWeight:
    """A record in the container; what it decodes to is unchanged, bit for bit."""
    return PackedWeight(
        codes=pack_codes(quantized.codes.flatten(1), quantized.bits),
        scale=quantized.scale.squeeze(-1).contiguous(),
        zero_point=None if quantized.symmetric else quantized.zero_point.squeeze(-1).contiguous(),
        input_scale=quantized.input_scale,
        columns=None if quantized.columns is None else quantized.columns.to(torch.int32),
        bits=quantized.bits,
        group_size=quantized.codes.shape[-1],
        dtype=quantized.dtype,
    )


def unpack(packed: PackedWeight) -> GridWeight:
    """The record again."""
    codes = unpack_codes(packed.codes, packed.bits).view(packed.shape[0], -1, packed.group_size)
    scale = packed.scale.unsqueeze(-1)
    middle = torch.full_like(scale, 2 ** (packed.bits - 1))
    zero_point = middle if packed.zero_point is None else packed.zero_point.unsqueeze(-1)
    columns = None if packed.columns is None else packed.columns.long()
    symmetric = packed.zero_point is None
    return GridWeight(codes, scale, zero_point, packed.bits, symmetric, packed.dtype, packed.input_scale, columns)


def signed_codes(packed: PackedWeight) -> Tensor:
    """Codes of 8 bits around 0, as kernels for integers take them: (out, in) int8."""
    return (packed.codes.to(torch.int16) - 128).to(torch.int8)


def row_scale(packed: PackedWeight) -> Tensor:
    """The scale of each row, where a row has one: (out,)."""
    return packed.scale.flatten().expand(packed.shape[0]).contiguous()


def grid_inputs(inputs: Tensor, packed: PackedWeight) -> Tensor:
    """Inputs as the codes want them: divided by input_scale and reordered. inputs: (batch.., in) -> the same shape."""
    if packed.input_scale is not None:
        inputs = inputs / packed.input_scale.to(inputs.dtype)
    return inputs if packed.columns is None else inputs.index_select(-1, packed.columns.long())


class PackedLinear(nn.Module):
    """A linear layer whose weight is stored packed. Effect: packed (bytes saved; slow, as each call dequantizes)."""

    effect = "packed"
    layout: Tensor
    codes: Tensor
    scale: Tensor
    zero_point: Tensor | None
    input_scale: Tensor | None
    columns: Tensor | None
    bias: Tensor | None

    def __init__(self, weight: PackedWeight, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.dtype = weight.dtype
        numbers = [weight.bits, weight.group_size, _DTYPES.index(weight.dtype)]
        self.register_buffer("layout", torch.tensor(numbers, dtype=torch.int32))  # makes the file self-describing
        for name in _TENSORS:
            self.register_buffer(name, getattr(weight, name))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prefix: str = "") -> "PackedLinear":
        """The layer whose tensors stand in `state` (a state_dict or a safetensors file) under `prefix`."""
        bits, group_size, dtype = state[prefix + "layout"].tolist()
        tensors = {name: state.get(prefix + name) for name in _TENSORS}
        weight = PackedWeight(**tensors, bits=bits, group_size=group_size, dtype=_DTYPES[dtype])  # type: ignore[arg-type]
        return cls(weight, state.get(prefix + "bias"))

    @property
    def packed(self) -> PackedWeight:
        """The weight as a record, sharing this layer's tensors."""
        bits, group_size, _ = self.layout.tolist()
        return PackedWeight(
            self.codes, self.scale, self.zero_point, self.input_scale, self.columns, bits, group_size, self.dtype
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the stored weight; bias and the 12 bytes of layout are not counted."""
        return self.packed.nbytes

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (batch.., in) -> (batch.., out)"""
        weight = decode_weight(unpack(self.packed)).to(inputs.dtype)
        return linear(inputs, weight, self.bias)

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        bits, group_size, _ = self.layout.tolist()
        return f"in={self.in_features}, out={self.out_features}, bits={bits}, group_size={group_size}"


_TENSORS = ("codes", "scale", "zero_point", "input_scale", "columns")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def load_packed(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put a PackedLinear in `model` (in place) wherever `state` holds one, then load the rest of `state` into it."""
    prefixes = [name.removesuffix("layout") for name in state if name.endswith(".layout")]
    for prefix in prefixes:
        model.set_submodule(prefix.removesuffix("."), PackedLinear.from_state(state, prefix))
    model.load_state_dict(dict(state))
