"""Keys and values of a prefix that every request shares, computed once and mapped by every new instance.

Paper: arXiv 2207.13263 (cold starts as a direction; kept prefixes are known from vLLM).
Idea: a system prompt is the same for all requests, so its cache is a file like the weights are; the first token then
    costs the request's own tokens only.
Symbols: P = tokens of the prefix, C = tokens of the request.
Simplified: one prefix a snapshot, copied into a contiguous cache; batch 1.
Differs: vLLM keeps blocks in memory between requests of one process; this is read by a process that has just begun.
Cost: 2 * layers * kv_heads * head_dim numbers a token of bytes to load, against computing P tokens: it pays where the
    disk brings a token's keys and values sooner than the processor makes them.
Checked against: the same request without a snapshot; a snapshot of another model; a request that begins otherwise.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from reference_impls.models import safetensors_file
from reference_impls.models.cache import ContiguousCache
from reference_impls.models.decoder import Decoder


@dataclass(frozen=True)
class Snapshot:
    """tokens: (P,); storage: (layers, 2, 1, kv_heads, P, head_dim)."""

    tokens: Tensor
    storage: Tensor


@torch.no_grad()
def write(model: Decoder, prefix: Tensor, path: Path | str) -> int:
    """Compute the prefix once. prefix: (P,) -> the file's bytes"""
    cache = model.new_cache(1, len(prefix))
    model.hidden_states(prefix[None], cache)
    tensors = {"tokens": prefix.to(torch.int64), "storage": cache.storage}
    safetensors_file.write(path, tensors, {"config": json.dumps(asdict(model.config))})
    return Path(path).stat().st_size


def read(path: Path | str, model: Decoder) -> Snapshot:
    """Map the file. Raises ValueError for one of another model's shape or type."""
    tensors, notes = safetensors_file.read(path)
    if json.loads(notes["config"]) != asdict(model.config) or tensors["storage"].dtype != model.embedding.weight.dtype:
        raise ValueError(f"{path}: a snapshot of another model")
    return Snapshot(tensors["tokens"], tensors["storage"])


def restore(snapshot: Snapshot, model: Decoder, tokens: Tensor, capacity: int) -> tuple[ContiguousCache, Tensor]:
    """A cache that holds the prefix, and the tokens left to compute; an empty cache where the request begins otherwise.

    tokens: (P + C,) -> cache of `capacity` tokens, (C,)
    """
    cache, length = model.new_cache(1, capacity), len(snapshot.tokens)
    if len(tokens) <= length or not torch.equal(tokens[:length], snapshot.tokens.to(tokens.device)):
        return cache, tokens
    for layer in range(snapshot.storage.shape[0]):
        keys, values = snapshot.storage[layer].to(tokens.device)  # (1, kv_heads, P, head_dim) each
        cache.append(layer, keys, values)
    return cache, tokens[length:]
