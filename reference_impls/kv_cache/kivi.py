"""Quantised keys and values: keys with a scale per channel, values with a scale per token, the newest left as they are.

Paper: arXiv 2402.02750, sections 3.2 (which axis) and 3.3 (the recent window); KIVI.
Idea: keys have a few channels of large magnitude at fixed places, values have not; a scale should not cross channels
    of keys. A group of keys along tokens is complete only after group_size tokens, so the newest wait.
Symbols: x = code * scale + offset, with scale = (max - min) / (2 ** bits - 1) and offset = min of the group.
Simplified: a pass dequantises all it reads; multiplying codes directly is in the attention family (`paged_decode`).
Differs: values wait as long as keys do, where the paper moves a value as soon as it leaves the window.
Cost: bits + 32 / group_size bits a number, with 16-bit scale and offset; recent_tokens + group_size - 1 whole at most.
Checked against: rounding one group by hand; the bytes counted; the window that holds everything; swapped axes.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reference_impls.kv_cache.sealed import MemoryPlace, Parts, SealedCache, cut
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.quantization.packed import pack_codes, unpack_codes

Axis = Literal["channel", "token"]
EVERYTHING = 2**40


@dataclass(frozen=True)
class Config:
    """keys, values: what one scale belongs to; a "channel" over group_size tokens, or group_size channels of a "token".

    group_size must divide head_dim where an axis is "token".
    """

    bits: int = 2
    group_size: int = 32
    recent_tokens: int = 32
    keys: Axis = "channel"
    values: Axis = "token"

    def __post_init__(self) -> None:
        if self.bits not in (2, 4, 8):
            raise ValueError(f"bits must be 2, 4 or 8 (codes fill bytes), got {self.bits}")
        if self.group_size < 1 or self.group_size * self.bits % 8:
            raise ValueError(f"group_size must fill whole bytes with codes of {self.bits} bits, got {self.group_size}")
        if self.recent_tokens < 0:
            raise ValueError(f"recent_tokens must be 0 or more, got {self.recent_tokens}")

    @property
    def bits_per_number(self) -> float:
        """Codes with their 16-bit scale and offset."""
        return self.bits + 32 / self.group_size


IDENTITY = Config(recent_tokens=EVERYTHING)


def quantize(grouped: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Round each group to its own grid.

    grouped: (..., group_size) -> codes: (..., group_size * bits / 8) uint8, scale, offset: (..., 1) float16
    """
    wide = grouped.float()
    low, high = wide.aminmax(dim=-1, keepdim=True)
    offset = low.half()
    # the smallest normal float16: a group of equal numbers must not divide by 0
    scale = ((high - offset.float()) / (2**bits - 1)).clamp(min=2.0**-14).half()
    codes = ((wide - offset.float()) / scale.float()).round().clamp(0, 2**bits - 1)
    return pack_codes(codes.to(torch.uint8), bits), scale, offset


def dequantize(codes: Tensor, scale: Tensor, offset: Tensor, bits: int) -> Tensor:
    """codes, scale, offset: as `quantize` gave them -> (..., group_size) float32"""
    return unpack_codes(codes, bits).float() * scale.float() + offset.float()


@dataclass(frozen=True)
class KiviCodec:
    """Segments of group_size tokens as packed codes."""

    config: Config

    def seal(self, keys: Tensor, values: Tensor, group: int) -> Parts:
        """keys, values: (batch, kv_heads, segments * group, head_dim) -> codes, scale, offset of both"""
        c = self.config
        return (*self._seal(keys, c.keys, group), *self._seal(values, c.values, group))

    def open(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """parts: as `seal` gave them -> (segments, batch, kv_heads, group, head_dim) each"""
        c = self.config
        return self._open(parts[:3], c.keys), self._open(parts[3:], c.values)

    def _seal(self, x: Tensor, axis: Axis, group: int) -> Parts:
        segments = cut(x, group)  # (segments, batch, kv_heads, group, head_dim)
        if axis == "channel":
            return quantize(segments.transpose(-1, -2), self.config.bits)
        return quantize(segments.reshape(*segments.shape[:-1], -1, self.config.group_size), self.config.bits)

    def _open(self, parts: Parts, axis: Axis) -> Tensor:
        codes, scale, offset = parts
        found = dequantize(codes, scale, offset, self.config.bits)
        return found.transpose(-1, -2) if axis == "channel" else found.flatten(-2)


def new_cache(shape: CacheShape, config: Config = IDENTITY) -> SealedCache:
    """A cache whose older tokens are codes."""
    check_fit(shape, config)
    return SealedCache(shape, KiviCodec(config), MemoryPlace(), config.group_size, config.recent_tokens)


def check_fit(shape: CacheShape, config: Config) -> None:
    """Refuse groups that do not divide a head."""
    seals = config.recent_tokens < EVERYTHING
    if seals and "token" in (config.keys, config.values) and shape.head_dim % config.group_size:
        raise ValueError(f"group_size must divide head_dim ({shape.head_dim}), got {config.group_size}")
