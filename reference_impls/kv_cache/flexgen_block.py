"""A block of batches decoded with weights, cache and activations on their tiers, loads and stores beside computing.

Paper: arXiv 2303.06865, section 4.2 and algorithm 1 (zig-zag block schedule with overlapping); FlexGen.
Idea: while a batch passes a layer, the next cache that is away, the next states and a part of the next layer's weights
    come in, what is needed after those is read from the disk, and the last one's state and new cache leave.
Symbols: those of `flexgen`.
Simplified: a chunk of a layer's weights, a batch's cache of a layer and a batch's state lie whole on a tier, by turns;
    new tokens leave in groups of `group_size`; on a GPU all copies share its default stream. The model given keeps its
    weights: what is saved is what a device would need.
Differs: embedding, last norm and head stay on the device; a step's first loads are not started in the step before.
Cost: as `flexgen.bytes_moved` says of the shares that were `placed`.
Checked against: the model in memory for every placement; bytes counted against the formula; stated rates against the
    cost model and its replay.
"""

from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from reference_impls.kv_cache import offload
from reference_impls.kv_cache.flexgen import Config, Shares, Work, schedule
from reference_impls.kv_cache.links import Links, Tiered
from reference_impls.kv_cache.sealed import Parts, PlainCodec, SealedCache
from reference_impls.kv_cache.shape import shape_of
from reference_impls.models.decoder import Block, Decoder, Rotation, rotation


def work_of(model: Decoder, tokens: int, chunks: int = 1, group: int = 1) -> Work:
    """What a step of decoding behind so many tokens is to the cost model. chunks, group: as in `Work`."""
    c, itemsize = model.config, model.embedding.weight.dtype.itemsize
    numbers = sum(weight.numel() for weight in model.blocks[0].parameters())
    return Work(
        layers=c.layers,
        layer_bytes=numbers * itemsize,
        token_bytes=2 * c.kv_heads * c.head_dim * itemsize,
        tokens=tokens,
        layer_flops=2 * numbers + 4 * c.heads * c.head_dim * tokens,
        state_bytes=c.hidden * itemsize,
        chunks=chunks,
        group=group,
    )


def spread(sizes: Sequence[int], shares: Shares) -> list[offload.Tier]:
    """A tier for each of these parts, in turn that which is furthest behind its share of the bytes so far."""
    tiers: tuple[offload.Tier, ...] = ("device", "host", "disk")
    behind, found = np.zeros(3), []
    for size in sizes:
        behind += size * np.array(astuple(shares))
        chosen = int(behind.argmax())
        behind[chosen] -= size
        found.append(tiers[chosen])
    return found


def lying(sizes: Sequence[int], tiers: Sequence[offload.Tier]) -> Shares:
    """The shares of the bytes that parts really have."""
    total = sum(sizes)
    device, host = (
        sum(size for size, tier in zip(sizes, tiers, strict=True) if tier == one) / total for one in ("device", "host")
    )
    return Shares(device, host, 1 - device - host)


def chunks_of(block: Block, count: int) -> list[list[str]]:
    """Names of a layer's weights in so many chunks of about the same size, which load one by one beside batches."""
    chunks: list[list[str]] = [[] for _ in range(count)]
    filled = [0] * count
    for name, weight in sorted(block.named_parameters(), key=lambda pair: -pair[1].nbytes):
        smallest = filled.index(min(filled))
        chunks[smallest].append(name)
        filled[smallest] += weight.nbytes
    return [chunk for chunk in chunks if chunk]


class BatchPlace:
    """As `sealed.Place`: the cache of one batch, among that of all."""

    def __init__(self, tiered: Tiered, batch: int, batches: int) -> None:
        self.tiered, self.batch, self.batches = tiered, batch, batches

    def put(self, layer: int, parts: Parts) -> None:
        """As `Place.put`."""
        self.tiered.put(layer * self.batches + self.batch, parts)

    def get(self, layer: int) -> Parts:
        """As `Place.get`."""
        return self.tiered.get(layer * self.batches + self.batch)

    def keep(self, layer: int, count: int) -> None:
        """As `Place.keep`."""
        self.tiered.keep(layer * self.batches + self.batch, count)

    @property
    def nbytes(self) -> int:
        """On the device."""
        return sum(
            part.nbytes
            for number, parts in self.tiered.here.held.items()
            if number % self.batches == self.batch
            for part in parts
        )


class Comes(Protocol):
    """Things by number, each on its tier, that can be started ahead of time: `links.Tiered`, or what replays it."""

    @property
    def tiers(self) -> Sequence[offload.Tier]:
        """Of each number."""

    def read(self, number: int) -> None:
        """Start to read it from its disk, if it lies there."""

    def bring(self, number: int) -> None:
        """Start to bring it to the device, if it lies elsewhere."""


class Lookahead:
    """What is started ahead of time while a block goes through its order: in the order in which it will be needed."""

    def __init__(self, config: Config, layers: int, chunks: int, weights: Comes, cache: Comes, states: Comes) -> None:
        self.config, self.chunks = config, chunks
        self.weights, self.cache, self.states = weights, cache, states
        self.order = [*schedule(layers, config.batches, config.order)]
        self.loads: list[list[tuple[int, int]]] = []
        """The order in runs of one layer, for each of which its weights are loaded."""
        for layer, batch in self.order:
            if not self.loads or self.loads[-1][0][0] != layer:
                self.loads.append([])
            self.loads[-1].append((layer, batch))
        numbers = [(place, layer * config.batches + batch) for place, (layer, batch) in enumerate(self.order)]
        self._away = [pair for pair in numbers if cache.tiers[pair[1]] != "device"]
        self._on_disk = [pair for pair in numbers if cache.tiers[pair[1]] == "disk"]

    def begin(self) -> None:
        """Start what the first load needs, and the disk's part of the second."""
        for chunk in range(self.chunks):
            self.weights.bring(self.loads[0][0][0] * self.chunks + chunk)
        self._caches_behind(-1)
        for load in self.loads[1:2]:
            for chunk in range(self.chunks):
                self.weights.read(load[0][0] * self.chunks + chunk)

    def after(self, load: int, turn: int) -> None:
        """Start what comes after the `turn`-th batch of a load.

        Of the caches the next that lies away, however many places on, and of those on the disk the next two; so links
        go on while a batch passes whose cache is on the device, and as few buffers do.
        """
        at = sum(map(len, self.loads[:load])) + turn
        since = self.config.batches if self.config.order == "zigzag" else 1  # places since a state was written
        for layer, batch in self.order[at + 1 : at + min(3, since)]:
            if layer:
                self.states.bring(batch)
        self._caches_behind(at)
        for distance, coming in enumerate(self.loads[load + 1 : load + 3]):
            for chunk in range(turn, self.chunks, len(self.loads[load])):
                number = coming[0][0] * self.chunks + chunk
                if distance:
                    self.weights.read(number)
                else:
                    self.weights.bring(number)

    def _caches_behind(self, at: int) -> None:
        for number in [number for place, number in self._away if place > at][:1]:
            self.cache.bring(number)
        for number in [number for place, number in self._on_disk if place > at][:2]:
            self.cache.read(number)


class OffloadedBlock:
    """A model and the caches of a block of batches, each part on its tier."""

    def __init__(
        self,
        model: Decoder,
        config: Config,
        links: Links | None = None,
        group_size: int = 32,
        page_cache: bool = True,
    ) -> None:
        """links: those that all transfers share, at no stated rate by default; group_size: see `offload.Config`."""
        self.model, self.config, self.links = model, config, links or Links()
        device, layers, batches = model.embedding.weight.device, model.config.layers, config.batches
        self.chunks = chunks_of(cast("Block", model.blocks[0]), batches)
        weights = dict(model.blocks[0].named_parameters())
        self.chunk_bytes = [sum(weights[name].nbytes for name in names) for names in self.chunks]
        sizes = self.chunk_bytes * layers
        rest = [1] * (layers * batches), [1] * batches
        tiers = [spread(sizes, config.weights), spread(rest[0], config.cache), spread(rest[1], config.activations)]
        found = [lying(*pair) for pair in zip((sizes, *rest), tiers, strict=True)]
        self.placed = replace(config, weights=found[0], cache=found[1], activations=found[2])
        """The setting with the shares that whole parts have."""
        self.weights = Tiered(tiers[0], self.links, device, 2 * len(self.chunks), page_cache)
        self.cache = Tiered(tiers[1], self.links, device, 2, page_cache)
        self.states = Tiered(tiers[2], self.links, device, 3, page_cache)
        shape = shape_of(model, config.batch)
        self.caches = [
            SealedCache(shape, PlainCodec(), BatchPlace(self.cache, batch, batches), group_size, 0)
            for batch in range(batches)
        ]
        self.lookahead = Lookahead(config, layers, len(self.chunks), self.weights, self.cache, self.states)
        self._move_weights()

    def _move_weights(self) -> None:
        for layer, block in enumerate(self.model.blocks):
            weights = dict(block.named_parameters())
            for number, names in enumerate(self.chunks):
                parts = tuple(weights[name].detach()[None] for name in names)
                self.weights.put(layer * len(self.chunks) + number, parts)
        self.weights.wait()

    def load(self, layer: int) -> dict[str, Tensor]:
        """The weights of a layer, by name."""
        found: dict[str, Tensor] = {}
        for number, names in enumerate(self.chunks):
            parts = self.weights.get(layer * len(self.chunks) + number)
            found |= dict(zip(names, (part[0] for part in parts), strict=True))
        return found


@torch.no_grad()
def block_step(block: OffloadedBlock, batches: Sequence[Tensor]) -> list[Tensor]:
    """One pass of every batch of a block, in the order of its schedule.

    batches: (batch, q_seq) tokens each -> normalised states (batch, q_seq, hidden) each
    """
    model, config = block.model, block.config
    turns = [_rotation(model, tokens, cache) for tokens, cache in zip(batches, block.caches, strict=True)]
    last: list[Tensor] = [tokens.new_empty(0) for tokens in batches]
    if config.overlap:
        block.lookahead.begin()
    for load, items in enumerate(block.lookahead.loads):
        weights = block.load(items[0][0])
        for turn, (layer, batch) in enumerate(items):
            if config.overlap:
                block.lookahead.after(load, turn)
            state = block.states.get(batch)[0][0] if layer else model.embedding(batches[batch])
            state = functional_call(
                model.blocks[layer], weights, (state, turns[batch], block.caches[batch], None), tie_weights=False
            )
            if layer + 1 < model.config.layers:
                block.states.put(batch, (state[None],), over=True)
            else:
                last[batch] = model.norm(state)
            if not config.overlap:
                block.cache.wait()
                block.states.wait()
    block.cache.wait()
    return last


def _rotation(model: Decoder, tokens: Tensor, cache: SealedCache) -> Rotation:
    positions = torch.arange(cache.length, cache.length + tokens.shape[1], device=tokens.device)
    return rotation(positions, model.config.head_dim, model.config.rope_theta)
