"""A cache of two parts: the newest tokens as they are, and older ones sealed in segments of a fixed length.

How a segment is written is a codec's choice (as it is, or quantised), where it lies is a place's (here, in blocks, on
the host or a disk). Quantised, offloaded and paged quantised caches are made of these.
"""

from typing import Protocol

import torch
from torch import Tensor

from reference_impls.kv_cache.shape import CacheShape

Parts = tuple[Tensor, ...]
"""What segments are made of: (segments, batch, ...) each."""


class Codec(Protocol):
    """How a segment is written."""

    def seal(self, keys: Tensor, values: Tensor, group: int) -> Parts:
        """keys, values: (batch, kv_heads, segments * group, head_dim) -> (segments, batch, ...) each"""

    def open(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """parts: as `seal` gave them -> (segments, batch, kv_heads, group, head_dim) each"""


class Place(Protocol):
    """Where the segments of each layer lie."""

    def put(self, layer: int, parts: Parts) -> None:
        """Add segments behind those of the layer. parts: (segments, batch, ...) each"""

    def get(self, layer: int) -> Parts:
        """All segments of a layer, on the device."""

    def keep(self, layer: int, count: int) -> None:
        """Keep the first `count` segments."""

    @property
    def nbytes(self) -> int:
        """Bytes of all segments."""


def cut(x: Tensor, group: int) -> Tensor:
    """x: (batch, kv_heads, segments * group, head_dim) -> (segments, batch, kv_heads, group, head_dim)"""
    return x.reshape(*x.shape[:2], -1, group, x.shape[3]).movedim(2, 0)


def join(segments: Tensor, tail: Tensor, dtype: torch.dtype) -> Tensor:
    """One copy of both. segments: as `cut` gives them; tail: (batch, kv_heads, recent, head_dim)

    -> (batch, kv_heads, segments * group + recent, head_dim)
    """
    count, batch, kv_heads, group, head_dim = segments.shape
    whole = tail.new_empty(batch, kv_heads, count * group + tail.shape[2], head_dim, dtype=dtype)
    whole[:, :, : count * group].view(batch, kv_heads, count, group, head_dim).copy_(segments.movedim(0, 2))
    whole[:, :, count * group :] = tail
    return whole


class PlainCodec:
    """Segments as they are."""

    def seal(self, keys: Tensor, values: Tensor, group: int) -> Parts:
        """As `Codec.seal`."""
        return tuple(cut(x, group).contiguous() for x in (keys, values))

    def open(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """As `Codec.open`."""
        keys, values = parts
        return keys, values


class MemoryPlace:
    """Beside the model."""

    def __init__(self) -> None:
        self.held: dict[int, Parts] = {}

    def put(self, layer: int, parts: Parts) -> None:
        """As `Place.put`."""
        if layer in self.held:
            parts = tuple(torch.cat(pair) for pair in zip(self.held[layer], parts, strict=True))
        self.held[layer] = parts

    def get(self, layer: int) -> Parts:
        """As `Place.get`."""
        return self.held[layer]

    def keep(self, layer: int, count: int) -> None:
        """As `Place.keep`."""
        if not count:
            self.held.pop(layer, None)
        elif layer in self.held:
            self.held[layer] = tuple(part[:count].clone() for part in self.held[layer])

    @property
    def nbytes(self) -> int:
        """As `Place.nbytes`."""
        return sum(part.nbytes for parts in self.held.values() for part in parts)


class SealedCache:
    """What a decoder asks of a cache. A pass sees its own tokens as they are; they are sealed behind it.

    The newest tokens are kept in the type of `shape`, which may be narrower than the model's.
    """

    def __init__(self, shape: CacheShape, codec: Codec, place: Place, group: int, recent_tokens: int) -> None:
        """group: tokens a segment; recent_tokens: at least so many of the newest stay as they are."""
        self.shape, self.codec, self.place = shape, codec, place
        self.group, self.recent_tokens = group, recent_tokens
        empty = torch.empty(shape.batch, shape.kv_heads, 0, shape.head_dim, dtype=shape.dtype, device=shape.device)
        self._tails = [(empty, empty)] * shape.layers
        self._sealed = [0] * shape.layers  # segments

    @property
    def length(self) -> int:
        """Tokens that every layer holds."""
        return min(self._held(layer) for layer in range(self.shape.layers))

    @property
    def nbytes(self) -> int:
        """Bytes of all that is held."""
        return self.place.nbytes + sum(part.nbytes for tail in self._tails for part in tail)

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """keys, values: (batch, kv_heads, q_seq, head_dim) -> (batch, kv_heads, kv_seq, head_dim) each"""
        new = zip(self._tails[layer], (keys, values), strict=True)
        tail_keys, tail_values = (torch.cat([held, more.to(held.dtype)], 2) for held, more in new)
        whole = tail_keys.to(keys.dtype), tail_values.to(keys.dtype)
        if self._sealed[layer]:
            opened = self.codec.open(self.place.get(layer))
            whole = join(opened[0], tail_keys, keys.dtype), join(opened[1], tail_values, keys.dtype)
        segments = max(0, tail_keys.shape[2] - self.recent_tokens) // self.group
        if segments:
            cut = segments * self.group
            self.place.put(layer, self.codec.seal(tail_keys[:, :, :cut], tail_values[:, :, :cut], self.group))
            self._sealed[layer] += segments
            tail_keys, tail_values = tail_keys[:, :, cut:].clone(), tail_values[:, :, cut:].clone()
        self._tails[layer] = tail_keys, tail_values
        return whole

    def crop(self, length: int) -> None:
        """Keep the first `length` tokens; of a segment that is cut, what is left is read out again."""
        if not 0 <= length <= self.length:
            raise ValueError(f"crop keeps 0 to {self.length} tokens (what is held), got {length}")
        for layer, (keys, values) in enumerate(self._tails):
            whole = min(length // self.group, self._sealed[layer])
            start = self._sealed[layer] * self.group
            if length < start:
                opened = self.codec.open(self.place.get(layer))
                old = (join(part, keys[:, :, :0], self.shape.dtype) for part in opened)
                keys, values = (part[:, :, whole * self.group : length] for part in old)
                self.place.keep(layer, whole)
                self._sealed[layer] = whole
            else:
                keys, values = keys[:, :, : length - start], values[:, :, : length - start]
            self._tails[layer] = keys.clone(), values.clone()

    def _held(self, layer: int) -> int:
        return self._sealed[layer] * self.group + self._tails[layer][0].shape[2]
