"""What a cache does to a model's output: loss behind a prompt that was cached, and a fact looked up in it.

The prompt is read once for all caches that are compared: no method drops or rounds anything before its end.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from reference_impls.kv_cache.evict import EvictingCache, Layer, observing
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.models.cache import Cache
from reference_impls.models.decoder import Decoder
from reference_impls.models.perplexity import token_losses

KEPT_QUERIES = 64
"""The newest queries of a prompt whose attention is kept for methods that look at it."""
_EVERYTHING = SimpleNamespace(budget=2**40, observation_window=KEPT_QUERIES)
_WATCHER: Any = SimpleNamespace(NEEDS=("attention", "accumulated"))


@torch.no_grad()
def read_prompt(model: Decoder, shape: CacheShape, tokens: Tensor) -> list[Layer]:
    """Keys, values and attention of every layer. tokens: (batch, seq)"""
    cache = EvictingCache(shape, _WATCHER, _EVERYTHING)
    with observing(model, cache):
        model.hidden_states(tokens, cache)
    return cache.layers


def fill(cache: Cache, prompt: list[Layer]) -> None:
    """Put a prompt into an empty cache, as if it had been read with it."""
    if isinstance(cache, EvictingCache):
        cache.restore(prompt)
        return
    for layer, held in enumerate(prompt):
        cache.append(layer, held.keys, held.values)


@torch.no_grad()
def losses_behind(model: Decoder, cache: Cache, tokens: Tensor, chunk: int) -> Tensor:
    """Loss of every token but the first, fed in chunks: the cache drops or rounds between them.

    tokens: (seq,), those that follow what the cache holds -> (seq - 1,)
    """
    losses = []
    with observing(model, cache) if isinstance(cache, EvictingCache) else nullcontext():
        for start in range(0, len(tokens) - 1, chunk):
            fed = tokens[start : min(start + chunk, len(tokens) - 1)]
            logits = model(fed[None], cache)[0]
            losses.append(token_losses(logits, tokens[start + 1 : start + 1 + len(fed)]))
    return torch.cat(losses)


@dataclass(frozen=True)
class Retrieval:
    """A text that hides a fact. prompt, later, answer: (seq,) each; `later` is read after the cache was cut."""

    prompt: Tensor
    later: Tensor
    answer: Tensor


@torch.no_grad()
def recalled(model: Decoder, cache: Cache, case: Retrieval) -> float:
    """Share of the answer's tokens that the model gives, told the ones before. The cache holds the prompt."""
    asked = torch.cat([case.later, case.answer])
    with observing(model, cache) if isinstance(cache, EvictingCache) else nullcontext():
        logits = model(asked[None, :-1], cache)[0, -len(case.answer) :]
    return float((logits.argmax(-1) == case.answer).double().mean())
