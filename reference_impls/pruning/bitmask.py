"""Unstructured storage: one bit for each weight, then only the values that stay.

Paper: none; the compressed-tensors library has such a format (sparse-bitmask).
Idea: a bit a weight is cheaper than an index a kept one wherever more than one of 16 or 32 stays.
Symbols: nothing beyond the axes' names.
Simplified: storage only; a product unpacks first.
Differs: no offset of each row, which only a product that skips rows would need.
Cost: 1 / 8 byte a weight and the kept values: below dense from 1 / 16 removed at 16 bits, 1 / 32 at 32.
Checked against: the weight that was packed; the byte formula; CSR of torch.sparse.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.pruning.masks import groups_of

_PLACES = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class BitmaskWeight:
    """A sparse weight as a bitmap and its values."""

    bitmap: Tensor  # (out, in / 8) uint8, the first of eight in the lowest bit
    values: Tensor  # (kept,), row after row

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.bitmap.shape[0], self.bitmap.shape[1] * 8

    @property
    def nbytes(self) -> int:
        """Bytes of bitmap and values."""
        return self.bitmap.nbytes + self.values.nbytes


def pack(weight: Tensor) -> BitmaskWeight:
    """weight: (out, in), in a multiple of 8 -> the same, without its zeros"""
    weight = weight.detach()
    if weight.shape[1] % 8:
        raise ValueError(f"eight weights share a byte: in must be a multiple of 8, got {weight.shape[1]}")
    kept = weight != 0
    places = torch.tensor(_PLACES, dtype=torch.uint8, device=weight.device)
    return BitmaskWeight((groups_of(kept, 8) * places).sum(-1, dtype=torch.uint8), weight[kept])


def unpack(packed: BitmaskWeight) -> Tensor:
    """-> (out, in), the weight again"""
    places = torch.tensor(_PLACES, dtype=torch.uint8, device=packed.bitmap.device)
    kept = (packed.bitmap[..., None] & places).bool().flatten(1)
    return packed.values.new_zeros(packed.shape).masked_scatter_(kept, packed.values)


def csr_bytes(weight: Tensor) -> int:
    """Bytes as compressed rows: value and 32-bit column for each kept one, 32 bits a row. weight: (out, in)"""
    kept = int(weight.count_nonzero())
    return kept * (weight.element_size() + 4) + 4 * (weight.shape[0] + 1)
