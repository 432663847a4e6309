"""2:4 sparsity: two of every four neighbours stay, so that values pack into half the place plus two bits each.

Paper: arXiv 2104.08378 (the 2:4 pattern, its storage, and sparse tensor cores).
Idea: zeros at places that are free but counted leave a regular layout, which tensor cores can skip through.
Symbols: values = the two kept of each group; codes = their places, 0 to 3, two bits each.
Simplified: the mask is by magnitude where the weight is not 2 of 4 yet; any method of this family can make one.
Differs: codes lie in the order of the weights, two groups a byte; tensor cores want them shuffled, which
    torch.sparse does for the path `tensor_core`.
Cost: (1 + 1 / 8) / 2 of the bytes at 16 bits (1.78 times less), 17 / 32 at 32; the path `unpack` writes the dense
    weight at each call, so it is a reference for memory, and slower than the dense product.
Checked against: the dense product, bit for bit after unpacking; the byte formula; torch's own tensors on a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.pruning import LayerStats
from reference_impls.pruning.masks import MaskConfig, groups_of, is_n_of_m, keep_n_of_m

KEPT, OF = 2, 4
PATHS = ("unpack", "tensor_core")


@dataclass(frozen=True)
class Config(MaskConfig):
    """Nothing to choose: two of four, by magnitude."""

    sparsity: float = 0.5
    n_of_m: tuple[int, int] | None = (KEPT, OF)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_of_m != (KEPT, OF):
            raise ValueError(f"semi_structured is n_of_m (2, 4), got {self.n_of_m}")


def keep_mask(weight: Tensor, config: Config, stats: LayerStats | None = None) -> Tensor:  # noqa: ARG001 the face
    """The two largest of each four. weight: (out, in) -> bool (out, in)"""
    return keep_n_of_m(weight.detach().abs(), config.n_of_m or (KEPT, OF))


@dataclass(frozen=True)
class PackedWeight:
    """A 2:4 weight in half the place."""

    values: Tensor  # (out, in / 2), the kept ones of each group in order
    codes: Tensor  # (out, in / 8), uint8: the places of two groups, first kept one in the lowest two bits

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.values.shape[0], self.values.shape[1] * 2

    @property
    def nbytes(self) -> int:
        """Bytes of values and codes."""
        return self.values.nbytes + self.codes.nbytes


def pack(weight: Tensor) -> PackedWeight:
    """weight: (out, in), at most two of each four not 0, in a multiple of 8 -> the same weight, packed"""
    weight = weight.detach()
    if weight.shape[1] % (2 * OF):
        raise ValueError(f"two groups of four share a byte: in must be a multiple of 8, got {weight.shape[1]}")
    if not is_n_of_m(weight, (KEPT, OF)):
        raise ValueError("more than two of some four weights are not 0: prune with n_of_m=(2, 4) first")
    groups = groups_of(weight, OF)  # (out, in / 4, 4)
    # Kept ones first, each half in order: a group with fewer than two that are not 0 keeps some zeros.
    places = (groups == 0).to(torch.uint8).argsort(dim=-1, stable=True)[..., :KEPT].sort(-1).values
    values = groups.gather(-1, places).flatten(1)
    four_bits = (places[..., 0] | places[..., 1] << 2).to(torch.uint8)  # (out, in / 4)
    return PackedWeight(values.contiguous(), four_bits[:, ::2] | four_bits[:, 1::2] << 4)


def places_of(packed: PackedWeight) -> Tensor:
    """-> int64 (out, in / 4, 2): where in its group each value stands."""
    bits = [(packed.codes >> shift) & 3 for shift in (0, 2, 4, 6)]
    return groups_of(torch.stack(bits, -1).flatten(1), KEPT).long()


def unpack(packed: PackedWeight) -> Tensor:
    """-> (out, in), the weight again"""
    groups = packed.values.new_zeros(packed.shape[0], packed.shape[1] // OF, OF)
    return groups.scatter_(-1, places_of(packed), groups_of(packed.values, KEPT)).flatten(1)


def obstacle(packed: PackedWeight, path: str) -> str | None:
    """Why a path cannot multiply by this weight here; None: it can."""
    if path not in PATHS:
        return f"is not one of {', '.join(PATHS)}"
    if path == "unpack":
        return None
    if packed.values.device.type != "cuda":
        return f"runs on NVIDIA GPUs, the weight is on {packed.values.device}"
    if torch.cuda.get_device_capability(packed.values.device) < (8, 0):
        return "needs sparse tensor cores (compute capability 8.0)"
    if packed.values.dtype not in (torch.float16, torch.bfloat16, torch.int8):
        return f"needs float16, bfloat16 or int8, got {packed.values.dtype}"
    step = 128 if packed.values.dtype == torch.int8 else 64
    if packed.shape[0] % 32 or packed.shape[1] % step:
        return f"needs out a multiple of 32 and in of {step}, got {packed.shape}"
    return None


def prepare(packed: PackedWeight, path: str = "unpack") -> Callable[[Tensor], Tensor]:
    """A function inputs: (batch.., in) -> (batch.., out) by the path; its own form of the weight is made once.

    A weight of int8 is for inputs of int8, and gives sums of int32.
    """
    reason = obstacle(packed, path)
    if reason is not None:
        raise ValueError(f"path {path} {reason}")
    if path == "unpack":
        return lambda inputs: linear(inputs, unpack(packed).to(inputs.dtype))
    multiply = _int8_product(packed) if packed.values.dtype == torch.int8 else _half_product(packed)

    def product(inputs: Tensor) -> Tensor:
        rows = inputs.reshape(-1, inputs.shape[-1])
        short = -len(rows) % 32  # the kernels want rows in multiples of 8, 16 or 32
        out = multiply(nn.functional.pad(rows, (0, 0, 0, short)))
        return out[: len(rows)].reshape(*inputs.shape[:-1], -1)

    return product


def _half_product(packed: PackedWeight) -> Callable[[Tensor], Tensor]:
    from torch.sparse import to_sparse_semi_structured

    held = to_sparse_semi_structured(unpack(packed))
    return lambda rows: linear(rows, held)


def _int8_product(packed: PackedWeight) -> Callable[[Tensor], Tensor]:
    held = torch._cslt_compress(unpack(packed))  # cuSPARSELt's own layout: torch's public tensors round to int8 again

    def multiply(rows: Tensor) -> Tensor:
        columns = torch._cslt_sparse_mm(held, rows.T, out_dtype=torch.int32)  # (out, rows)
        return columns.T

    return multiply


class SemiStructuredLinear(nn.Module):
    """A linear layer whose 2:4 weight is stored packed.

    Effect: packed (bytes saved; unpacked at each call). On a GPU with sparse tensor cores, and inputs of the weight's
    dtype, these multiply: at the first call there the weight is held in their layout too.
    """

    effect = "packed"
    values: Tensor
    codes: Tensor
    bias: Tensor | None

    def __init__(self, weight: PackedWeight, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.register_buffer("values", weight.values)
        self.register_buffer("codes", weight.codes)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self._product: Callable[[Tensor], Tensor] | None = None

    @property
    def packed(self) -> PackedWeight:
        """The weight as it is stored."""
        return PackedWeight(self.values, self.codes)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SemiStructuredLinear":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._product = None  # was made for another device or dtype
        return self

    def dense(self) -> Tensor:
        """-> (out, in)"""
        return unpack(self.packed)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (batch.., in) -> (batch.., out)"""
        if inputs.dtype != self.values.dtype or obstacle(self.packed, "tensor_core") is not None:
            bias = None if self.bias is None else self.bias.to(inputs.dtype)
            return linear(inputs, self.dense().to(inputs.dtype), bias)
        if self._product is None:
            self._product = prepare(self.packed, "tensor_core")
        out = self._product(inputs)
        return out if self.bias is None else out + self.bias
