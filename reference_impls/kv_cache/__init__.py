"""The key-value cache: paged, prefix-shared, quantised, evicted, offloaded, behind the decoder's `Cache` argument.

Two faces. A module with `Config`, `IDENTITY` and `new_cache` makes a cache that a decoder takes (paged, kivi, offload);
one with `Config`, `IDENTITY` and `keep_indices` says which tokens stay (h2o, snapkv, streaming_llm, random_eviction),
and `evict.new_cache` makes it a cache. IDENTITY is the setting under which nothing is lost. `caches()` and
`evictions()` find them by walking the package; `compose.py` says what goes together. Blocks and their tables are in
`blocks.py` and `paged.py`, shared prefixes in `prefix.py`; a long stream is scored in `streaming_chunks.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Protocol, cast

from torch import Tensor

from reference_impls.kv_cache.shape import CacheShape, shape_of
from reference_impls.models.cache import Cache

__all__ = ["HEADER_FIELDS", "CacheMethod", "CacheShape", "CacheView", "Eviction", "caches", "evictions", "shape_of"]
HEADER_FIELDS = ("Paper", "Idea", "Symbols", "Simplified", "Differs", "Cost", "Checked against")


@dataclass(frozen=True)
class CacheView:
    """What an eviction method may look at: one layer, before anything is dropped.

    keys, values: (batch, kv_heads, kv_seq, head_dim);
    attention: (batch, kv_heads, queries, kv_seq), of the newest queries, the mean over the heads of a group;
    accumulated: (batch, kv_heads, kv_seq), the sum over all queries so far. None where the method does not NEED them.
    """

    keys: Tensor
    values: Tensor
    attention: Tensor | None = None
    accumulated: Tensor | None = None


class Eviction(Protocol):
    """The face of a method that drops tokens. Its Config has a `budget` of tokens. Optional beside it:

    NEEDS: tuple of the CacheView fields beside keys and values that it reads;
    ONCE: True where only the prompt is cut, once; else tokens leave after every pass;
    IN_CACHE_POSITIONS: True where a token's position is its place in the cache, not in the text.
    """

    Config: type[Any]
    IDENTITY: Any

    def keep_indices(self, view: CacheView, config: Any) -> Tensor:
        """-> (batch, kv_heads, kept), ascending; at most `budget`, and all where they are no more than that."""


class CacheMethod(Protocol):
    """The face of a kind of cache."""

    Config: type[Any]
    IDENTITY: Any

    def new_cache(self, shape: CacheShape, config: Any) -> Cache:
        """An empty cache of this shape."""


def evictions() -> dict[str, Eviction]:
    """Every method that drops tokens, by module name."""
    return {name: cast(Eviction, found) for name, found in _modules_with(("Config", "keep_indices")).items()}


def caches() -> dict[str, CacheMethod]:
    """Every kind of cache, by module name; `evict`, which needs a method, is none of its own."""
    return {name: cast(CacheMethod, found) for name, found in _modules_with(("new_cache",)).items() if name != "evict"}


def _modules_with(parts: Sequence[str]) -> dict[str, ModuleType]:
    """Modules of this package that define all these names themselves, and have an IDENTITY."""
    names = [found.name for found in iter_modules(__path__) if not found.name.startswith("bench")]
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    return {
        name: module
        for name, module in modules.items()
        if all(getattr(getattr(module, part, None), "__module__", None) == module.__name__ for part in parts)
    }
