"""The machinery of eviction: a cache that drops what a method does not keep, and how a method sees attention.

A method is a module with `keep_indices` (see `Eviction`). Those that need attention see it only inside `observing`:

    cache = evict.new_cache(shape_of(model), h2o, h2o.Config(budget=64))
    with evict.observing(model, cache):
        generate(model, tokens, 100, cache=cache)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reference_impls.kv_cache import CacheView, Eviction
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.models.attend import attend, causal_mask
from reference_impls.models.cache import Cache
from reference_impls.models.decoder import Attention, Decoder, rotate, rotation


@dataclass
class Layer:
    """What one layer holds. keys, values: (batch, kv_heads, held, head_dim); turned: (batch, kv_heads, held), the slot
    that each key was rotated for; accumulated: as keys without head_dim; attention: of the newest queries."""

    keys: Tensor
    values: Tensor
    turned: Tensor
    accumulated: Tensor
    attention: Tensor | None = None
    seen: int = 0


class EvictingCache:
    """Holds at most `budget` tokens a head between two passes. Rows must be equally long and unpadded.

    Positions: those of the text go on counting, unless the method's are those of the cache.
    """

    def __init__(self, shape: CacheShape, method: Eviction, config: Any, rest: Cache | None = None) -> None:
        """rest: where the kept tokens of a method that cuts ONCE go, and all that follow (a quantised cache)."""
        self.shape, self.method, self.config, self.rest = shape, method, config, rest
        self.once = bool(getattr(method, "ONCE", False))
        self.watches = bool(getattr(method, "NEEDS", ()))
        self.in_cache = bool(getattr(method, "IN_CACHE_POSITIONS", False))
        if rest is not None and not self.once:
            raise ValueError("only a method that cuts once can hand its tokens on to another cache")
        self.cut = [False] * shape.layers
        self.layers = [self._empty() for _ in range(shape.layers)]

    @property
    def length(self) -> int:
        """Where the next token stands: tokens seen, or held where positions are those of the cache."""
        return min(layer.keys.shape[2] if self.in_cache else layer.seen for layer in self.layers)

    @property
    def held(self) -> int:
        """The most tokens that a layer holds for one head."""
        return max(self._held(layer) for layer in range(self.shape.layers))

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values that are held."""
        own = sum(layer.keys.nbytes + layer.values.nbytes for layer in self.layers)
        return own + int(getattr(self.rest, "nbytes", 0))

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """keys, values: (batch, kv_heads, q_seq, head_dim) -> (batch, kv_heads, held, head_dim) each"""
        at, q_seq = self.layers[layer], keys.shape[2]
        at.seen += q_seq
        if self.rest is not None and self.cut[layer]:
            return self.rest.append(layer, keys, values)
        held = at.keys.shape[2]
        slots = torch.arange(held, held + q_seq, device=keys.device).expand(*keys.shape[:2], -1)
        at.keys = torch.cat([at.keys, keys.to(at.keys.dtype)], 2)
        at.values = torch.cat([at.values, values.to(at.values.dtype)], 2)
        at.turned = torch.cat([at.turned, slots], 2)
        at.accumulated = torch.cat([at.accumulated, at.accumulated.new_zeros(slots.shape)], 2)
        shown = self._turn(at).to(keys.dtype), at.values.to(keys.dtype)
        if not self.watches:
            self._evict(layer)
        return shown

    def observe(self, layer: int, shares: Tensor) -> None:
        """What the layer's attention looked at; then tokens leave. shares: (batch, kv_heads, q_seq, kv_seq)"""
        at = self.layers[layer]
        if self.rest is not None and self.cut[layer]:
            return
        at.accumulated = at.accumulated + shares.sum(2)
        at.attention = shares[:, :, -getattr(self.config, "observation_window", 1) :]
        self._evict(layer)

    def restore(self, prompt: list["Layer"]) -> None:
        """Take over what an `observing` cache without evictions saw of a prompt, and cut it by this one's method."""
        self.cut = [False] * self.shape.layers
        for layer, seen in enumerate(prompt):
            at = self.layers[layer] = replace(seen)
            at.keys, at.values = at.keys.to(self.shape.dtype), at.values.to(self.shape.dtype)
            if at.attention is not None:
                at.attention = at.attention[:, :, -getattr(self.config, "observation_window", 1) :]
            self._evict(layer)

    def crop(self, length: int) -> None:
        """Only what came after the last eviction can be forgotten: the others' places are taken."""
        drop = self.length - length
        if drop < 0 or length < 0:
            raise ValueError(f"crop keeps 0 to {self.length} tokens (what was seen), got {length}")
        for layer in self.layers:
            if drop and layer.seen > layer.keys.shape[2]:
                raise ValueError("tokens were evicted: what the dropped ones pushed out cannot be brought back")
            keep = layer.keys.shape[2] - drop
            layer.keys, layer.values = layer.keys[:, :, :keep], layer.values[:, :, :keep]
            layer.turned, layer.accumulated = layer.turned[:, :, :keep], layer.accumulated[:, :, :keep]
            layer.seen -= drop

    def _evict(self, layer: int) -> None:
        at = self.layers[layer]
        if self.once and self.cut[layer]:
            return
        self.cut[layer] = True
        if at.keys.shape[2] > self.config.budget:
            keep = self.method.keep_indices(CacheView(at.keys, at.values, at.attention, at.accumulated), self.config)
            wide = keep[..., None].expand(-1, -1, -1, self.shape.head_dim)
            at.keys, at.values = at.keys.gather(2, wide), at.values.gather(2, wide)
            at.turned, at.accumulated = at.turned.gather(2, keep), at.accumulated.gather(2, keep)
        if self.rest is not None:
            self.rest.append(layer, at.keys, at.values)
            empty = self._empty()
            at.keys, at.values, at.turned, at.accumulated = empty.keys, empty.values, empty.turned, empty.accumulated

    def _turn(self, at: Layer) -> Tensor:
        """Keys as they should be rotated: for their slot, where positions are those of the cache."""
        slots = torch.arange(at.keys.shape[2], device=at.keys.device)
        moved = slots - at.turned
        if not self.in_cache or not bool(moved.any()):
            return at.keys
        cos, sin = rotation(moved.flatten(0, 1), self.shape.head_dim, self.shape.rope_theta)
        heads = at.keys.shape[:2]  # (batch * kv_heads, 1, held, pairs) -> (batch, kv_heads, held, pairs)
        return rotate(at.keys, (cos.view(*heads, *cos.shape[2:]), sin.view(*heads, *sin.shape[2:])))

    def _held(self, layer: int) -> int:
        if self.rest is not None and self.cut[layer]:
            return self.rest.length
        return self.layers[layer].keys.shape[2]

    def _empty(self) -> Layer:
        s = self.shape
        none = torch.empty(s.batch, s.kv_heads, 0, s.head_dim, dtype=s.dtype, device=s.device)
        slots = torch.empty(s.batch, s.kv_heads, 0, dtype=torch.long, device=s.device)
        return Layer(none, none, slots, slots.float())


def new_cache(shape: CacheShape, method: Eviction, config: Any) -> EvictingCache:
    """An empty cache that drops what the method does not keep."""
    return EvictingCache(shape, method, config)


@contextmanager
def observing(model: Decoder, cache: EvictingCache) -> Iterator[None]:
    """Let the cache see the model's attention, for as long as this lasts."""
    layers = [module for module in model.modules() if isinstance(module, Attention)]
    before = [layer.attend for layer in layers]
    for layer in layers:
        layer.attend = _watched(cache, layer.layer) if cache.watches else layer.attend
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.attend = own


def _watched(cache: EvictingCache, layer: int) -> Any:
    def watch(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            raise ValueError("evicting caches take no mask: rows must be equally long and unpadded")
        mixed = attend(queries, keys, values)
        cache.observe(layer, attention_shares(queries, keys))
        return mixed

    return watch


def attention_shares(queries: Tensor, keys: Tensor) -> Tensor:
    """Causal attention's weights, the mean over the heads of a group.

    queries: (batch, heads, q_seq, head_dim); keys: (batch, kv_heads, kv_seq, head_dim)
    -> (batch, kv_heads, q_seq, kv_seq)
    """
    batch, _, q_seq, head_dim = queries.shape
    groups = queries.reshape(batch, keys.shape[1], -1, q_seq, head_dim)  # the third axis: heads of a group
    scores = (groups * head_dim**-0.5) @ keys[:, :, None].transpose(-1, -2)
    hidden = ~causal_mask(q_seq, keys.shape[2], device=keys.device)
    shares: Tensor = scores.float().masked_fill(hidden, float("-inf")).softmax(-1).mean(2)
    return shares
