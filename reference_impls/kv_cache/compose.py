"""Which of the family's techniques go together, made where they do and refused with the reason where they do not.

Paper: none; combinations of the family's own techniques.
Idea: techniques that change values, places and tokens meet in segments: how one is written, where it lies, who stays.
Symbols: nothing beyond the axes' names.
Simplified: pairs only, each at its defaults or the configs given.
Differs: nothing.
Cost: that of both.
Checked against: each pair equals its parts where one of them is at its identity.
"""

from collections.abc import Callable
from typing import Any

import torch

from reference_impls.kv_cache import evictions, kivi, offload, paged
from reference_impls.kv_cache.blocks import BlockManager
from reference_impls.kv_cache.evict import EvictingCache
from reference_impls.kv_cache.sealed import Parts, SealedCache
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.models.cache import Cache

REFUSED = {
    ("eviction", "eviction"): "after both, a token is left only where both would keep it, so neither budget is used up"
    " and each looks at attention that the other has thinned out; give one method a `keep_indices` that weighs both",
    (
        "eviction",
        "kivi",
    ): "a key group spans group_size tokens: evicting one of them after every pass would mean"
    " to read and round the group again each time; methods that cut once (snapkv) can",
    (
        "eviction",
        "offload",
    ): "scores after every pass read every key each time, so all that is away would be fetched",
    ("eviction", "paged"): "heads keep different tokens, so a block is free only when no head needs any token of it;"
    " that takes a table for each head",
    ("eviction", "prefix"): "what one question needs of a prefix is not what the next one needs: a cut prefix must not"
    " be shared",
    ("kivi", "kivi"): "codes of codes round twice and save nothing; choose one number of bits",
    ("kivi", "prefix"): "keys depend on how much of what precedes them was rounded when they were computed, and that"
    " depends on the passes of a request: what it shared would not be what recomputing gives; share blocks of plain"
    " numbers",
    ("offload", "offload"): "one setting already divides the layers among device, host and disk; add up the shares",
    ("offload", "paged"): "paged swaps whole sequences between pools itself (swap_out, swap_in)",
    (
        "offload",
        "prefix",
    ): "offloaded layers are those of one batch, in no blocks that another request could name; share"
    " blocks of a paged pool, and let sequences that wait be swapped out of it",
    ("paged", "paged"): "a block of blocks is a larger block; choose one tokens_per_block",
    ("paged", "prefix"): "it is built in, and a request's tokens choose its blocks, which no empty cache knows: make"
    " `prefix.PrefixTree(pool.manager)` of a PagedPool and begin each request with its `start`",
    ("prefix", "prefix"): "two trees over one pool would each hold blocks that only the other can give up; keep one",
}
"""Pairs of kinds that do not go together, and why."""


class RefusedError(ValueError):
    """Two techniques that do not go together; the message says why."""


def kind(name: str) -> str:
    """What a technique is to the others: its own name, or "eviction"."""
    return "eviction" if name in evictions() else name


def compose(shape: CacheShape, first: tuple[str, Any], second: tuple[str, Any]) -> Cache:
    """A cache with both. first, second: name and config, in either order; RefusedError says why it cannot be."""
    pair = sorted((first, second), key=lambda one: kind(one[0]))
    (name, config), (other, other_config) = pair
    kinds = kind(name), kind(other)
    if kinds == ("eviction", "kivi") and getattr(evictions()[name], "ONCE", False):
        rest = kivi.new_cache(shape, other_config)
        return EvictingCache(shape, evictions()[name], config, rest)
    if kinds in MADE:
        return MADE[kinds](shape, config, other_config)
    if kinds in REFUSED:
        raise RefusedError(f"{name} with {other}: {REFUSED[kinds]}")
    raise ValueError(f"{name} or {other} is no technique of this family")


def _offloaded_codes(shape: CacheShape, codes: kivi.Config, away: offload.Config) -> SealedCache:
    """Codes move instead of numbers."""
    kivi.check_fit(shape, codes)
    place = offload.TieredPlace(shape, away)
    return SealedCache(shape, kivi.KiviCodec(codes), place, codes.group_size, codes.recent_tokens)


def _paged_codes(shape: CacheShape, codes: kivi.Config, blocks: paged.Config) -> SealedCache:
    """A block is a group of codes; the newest tokens of a row lie beside the pool."""
    kivi.check_fit(shape, codes)
    if blocks.tokens_per_block != codes.group_size:
        raise RefusedError(
            f"a block must be a group: tokens_per_block {blocks.tokens_per_block}, group_size {codes.group_size}"
        )
    return SealedCache(shape, kivi.KiviCodec(codes), BlockPlace(shape, blocks), codes.group_size, codes.recent_tokens)


MADE: dict[tuple[str, str], Callable[[CacheShape, Any, Any], Cache]] = {
    ("kivi", "offload"): _offloaded_codes,
    ("kivi", "paged"): _paged_codes,
}
"""Pairs of kinds, sorted by name, that go together."""


class BlockPlace:
    """Segments in blocks of one pool, a table for each row and layer; a full pool raises OutOfBlocksError."""

    def __init__(self, shape: CacheShape, config: paged.Config) -> None:
        self.shape, self.config, self.manager = shape, config, BlockManager(config)
        self.tables = [[self.manager.new_sequence() for _ in range(shape.batch)] for _ in range(shape.layers)]
        self.storage: Parts = ()

    def put(self, layer: int, parts: Parts) -> None:
        """As `Place.put`. parts: (segments, batch, ...) each"""
        if not self.storage:
            self.storage = tuple(part.new_zeros(self.config.device_blocks, *part.shape[2:]) for part in parts)
        rows, wide, more = self.tables[layer], self.config.tokens_per_block, len(parts[0])
        self.manager.reserve((row, row.length, row.length + more * wide) for row in rows)
        for number, row in enumerate(rows):
            places = row.blocks[len(row.blocks) - more :]
            row.length += more * wide
            for held, part in zip(self.storage, parts, strict=True):
                held[places] = part[:, number]

    def get(self, layer: int) -> Parts:
        """As `Place.get`."""
        table = torch.tensor([row.blocks for row in self.tables[layer]]).T
        return tuple(held[table] for held in self.storage)

    def keep(self, layer: int, count: int) -> None:
        """As `Place.keep`."""
        for row in self.tables[layer]:
            self.manager.truncate(row, count * self.config.tokens_per_block)

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks in use."""
        used = self.config.device_blocks - self.manager.free_blocks()
        return sum(held[0].nbytes for held in self.storage) * used if used else 0
