"""The key/value cache: what a decoder asks of any cache, and the plain preallocated one.

Paper: arXiv 1911.02150, section 2.4 (incremental decoding keeps past keys and values).
Idea: keep each layer's keys and values, so that a new token costs one position and not the whole sequence again.
Symbols: nothing beyond the axes' names.
Simplified: one length for the whole batch; shorter sequences are padded on the left and masked.
Differs: nothing.
Cost: 2 * layers * kv_heads * head_dim numbers a token; all of `capacity` is taken at once, used or not.
Checked against: the parallel pass without a cache.
"""

from typing import Protocol

import torch
from torch import Tensor


class Cache(Protocol):
    """What a decoder asks of a cache; paged, quantized, offloaded and evicting ones implement the same three."""

    @property
    def length(self) -> int:
        """Tokens held by every layer: a pass that was cut short does not count."""
        ...

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new positions of one layer; return all that the layer's attention may look at.

        keys, values: (batch, kv_heads, q_seq, head_dim) -> (batch, kv_heads, kv_seq, head_dim) each, the new ones last
        """
        ...

    def crop(self, length: int) -> None:
        """Forget everything after the first `length` tokens (rejected drafts)."""
        ...


class ContiguousCache:
    """One block of memory per layer, written in place. What `append` returns is a view of it, not a copy."""

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (layers, 2, batch, kv_heads, capacity, head_dim)
        self.capacity = capacity
        self.storage = torch.empty(shape, dtype=dtype, device=device)
        self._lengths = [0] * layers

    @property
    def length(self) -> int:
        """Tokens held by every layer."""
        return min(self._lengths)

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write behind what the layer holds.

        keys, values: (batch, kv_heads, q_seq, head_dim) -> (batch, kv_heads, kv_seq, head_dim) each, views
        """
        start = self._lengths[layer]
        end = start + keys.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} tokens, {end} would be needed")
        held = self.storage[layer, :, :, :, :end]
        held[0, :, :, start:] = keys
        held[1, :, :, start:] = values
        self._lengths[layer] = end
        return held[0], held[1]

    def crop(self, length: int) -> None:
        """Keep the first `length` tokens, and drop what a pass that was cut short left in some layers."""
        if not 0 <= length <= self.length:
            raise ValueError(f"crop keeps 0 to {self.length} tokens (what is held), got {length}")
        self._lengths = [length] * len(self._lengths)

    def move(self, sources: Tensor, targets: Tensor) -> None:
        """Copy positions to other places of their row, as accepted branches of a tree need it.

        sources, targets: (batch, n) slots; what moves is read before anything is written
        """
        rows = torch.arange(len(sources))[:, None]
        # an index, a slice and an index: torch puts the indexed axes first, (batch, n, layers, 2, kv_heads, head_dim)
        self.storage[:, :, rows, :, targets] = self.storage[:, :, rows, :, sources]
