"""Cutting structures out of a decoder: attention groups, feed-forward neurons and blocks become really smaller.

A group is a key/value head with the query heads that read it; a neuron is a row of `gate` and `up` and a column of
`down`. Both go as a whole, since each part is of use to the others only.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reference_impls.models.cache import ContiguousCache
from reference_impls.models.decoder import Attention, Block, Decoder, FeedForward
from reference_impls.pruning.masks import keep_largest


@dataclass(frozen=True)
class ShrinkConfig:
    """How much every block loses, except those protected at either end."""

    removed_neurons: float = 0.2  # share of the feed-forward neurons
    removed_groups: int = 0  # key/value heads, each with its query heads
    protect_first: int = 0  # blocks left whole at the start
    protect_last: int = 0  # and at the end

    def __post_init__(self) -> None:
        if not 0 <= self.removed_neurons < 1:
            raise ValueError(f"removed_neurons must be at least 0 and below 1, got {self.removed_neurons}")
        for name in ("removed_groups", "protect_first", "protect_last"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class BlockScores:
    """How much each structure of one block matters."""

    neurons: Tensor  # (ffn,)
    groups: Tensor  # (kv_heads,)


class RaggedCache:
    """A contiguous cache whose layers may differ in key/value heads."""

    def __init__(self, layers: list[ContiguousCache]) -> None:
        self.layers = layers

    @property
    def length(self) -> int:
        """Tokens held by every layer."""
        return min(layer.length for layer in self.layers)

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """keys, values: (batch, kv_heads of the layer, q_seq, head_dim) -> the same with kv_seq, views"""
        return self.layers[layer].append(0, keys, values)

    def crop(self, length: int) -> None:
        """Keep the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"crop keeps 0 to {self.length} tokens (what is held), got {length}")
        for layer in self.layers:
            layer.crop(length)


class RaggedDecoder(Decoder):
    """A decoder whose blocks differ in width. Its config tells the widest; each block's layers tell their own."""

    def new_cache(self, batch: int = 1, capacity: int | None = None) -> RaggedCache:  # type: ignore[override]
        """An empty cache with the key/value heads that each block has."""
        weight, room = self.embedding.weight, capacity or self.config.max_positions
        dim = self.config.head_dim
        return RaggedCache(
            [
                ContiguousCache(1, batch, kv_heads(block), room, dim, weight.dtype, weight.device)
                for block in decoder_blocks(self)
            ]
        )


def as_decoder(model: nn.Module) -> Decoder:
    """Structures are known for this package's decoder only."""
    if not isinstance(model, Decoder):
        raise TypeError(f"structured pruning knows this package's Decoder, got {type(model).__name__}")
    return model


def decoder_blocks(model: Decoder) -> list[Block]:
    """The blocks in order, typed."""
    return [block for block in model.blocks if isinstance(block, Block)]


def kv_heads(block: Block) -> int:
    """Key/value heads that the block has."""
    return block.attention.key.out_features // block.attention.head_dim


def cut(model: Decoder, scores: Sequence[BlockScores], config: ShrinkConfig) -> Decoder:
    """A copy without the structures of least score; each block ranks its own. scores: one for each block."""
    result = deepcopy(model)
    blocks = decoder_blocks(result)
    for index, (block, score) in enumerate(zip(blocks, scores, strict=True)):
        if not config.protect_first <= index < len(blocks) - config.protect_last:
            continue
        if config.removed_groups >= len(score.groups):
            raise ValueError(f"removed_groups must be below the {len(score.groups)} there are: one must stay")
        removed = round(config.removed_neurons * len(score.neurons))
        keep_neurons(block.ffn, keep_largest(score.neurons, removed))
        keep_groups(block.attention, keep_largest(score.groups, config.removed_groups))
    return _with_own_shape(result)


def keep_neurons(ffn: FeedForward, mask: Tensor) -> None:
    """Leave out feed-forward neurons, in place. mask: bool (ffn,)"""
    ffn.gate, ffn.up = _rows(ffn.gate, mask), _rows(ffn.up, mask)
    ffn.down = _columns(ffn.down, mask)


def keep_groups(attention: Attention, mask: Tensor) -> None:
    """Leave out key/value heads and the query heads that read them, in place. mask: bool (kv_heads,)"""
    per_group = attention.query.out_features // len(mask)
    queries, keys = mask.repeat_interleave(per_group), mask.repeat_interleave(attention.head_dim)
    attention.query, attention.output = _rows(attention.query, queries), _columns(attention.output, queries)
    attention.key, attention.value = _rows(attention.key, keys), _rows(attention.value, keys)


def remove_blocks(model: Decoder, removed: Sequence[int]) -> Decoder:
    """A copy without these blocks; those that stay move up, in the cache too."""
    unknown = sorted(set(removed) - set(range(len(model.blocks))))
    if unknown or len(set(removed)) >= len(model.blocks):
        raise ValueError(f"blocks 0 to {len(model.blocks) - 1} can be removed, not all of them, got {list(removed)}")
    result = _shell(model)
    kept = [block for index, block in enumerate(decoder_blocks(model)) if index not in removed]
    result.blocks = nn.ModuleList(deepcopy(kept))
    for index, block in enumerate(decoder_blocks(result)):
        block.attention.layer = index
    return _with_own_shape(result)


def parameters_in(model: nn.Module) -> int:
    """Numbers in the weights, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _rows(layer: nn.Linear, mask: Tensor) -> nn.Linear:
    return _linear(layer, layer.weight.detach()[mask.to(layer.weight.device)])


def _columns(layer: nn.Linear, mask: Tensor) -> nn.Linear:
    return _linear(layer, layer.weight.detach()[:, mask.to(layer.weight.device)])


def _linear(like: nn.Linear, weight: Tensor) -> nn.Linear:
    """A layer without bias, as all of the decoder are. weight: (out, in)"""
    layer = nn.Linear(1, 1, bias=False)
    layer.out_features, layer.in_features = weight.shape
    layer.weight = nn.Parameter(weight.contiguous().clone(), requires_grad=like.weight.requires_grad)
    return layer


def _shell(model: Decoder) -> Decoder:
    """A copy of everything but the blocks."""
    with torch.device("meta"):
        result = type(model)(model.config)
    result.embedding, result.norm = deepcopy(model.embedding), deepcopy(model.norm)
    result.head = deepcopy(model.head)
    result.tie()
    return result.train(model.training)


def _with_own_shape(model: Decoder) -> Decoder:
    """The model with a config that tells what it has become; ragged where one config cannot."""
    blocks = decoder_blocks(model)
    groups, neurons = [kv_heads(block) for block in blocks], [block.ffn.gate.out_features for block in blocks]
    queries = model.config.heads // model.config.kv_heads
    heads = max(groups) * queries
    config = replace(model.config, layers=len(blocks), heads=heads, kv_heads=max(groups), ffn=max(neurons))
    ragged = len(set(groups)) > 1 or len(set(neurons)) > 1
    with torch.device("meta"):
        result = RaggedDecoder(config) if ragged else Decoder(config)
    result.embedding, result.blocks = model.embedding, model.blocks
    result.norm, result.head = model.norm, model.head
    return result.train(model.training)
