"""Throughput with weights and cache offloaded: the zig-zag block schedule, its bytes, cost model and policy search.

Paper: arXiv 2303.06865, sections 4.2 and 4.3 (schedule, cost model, policy search); FlexGen.
Idea: with batches of sequences in a block, go through the layers once and through the batches inside: a layer's weights
    are loaded once a block instead of once a batch, and the block's size pays for the link.
Symbols: w, c = share of weights and of cache that stays on the device.
Simplified: two tiers, device and host, and one link for each direction; activations stay on the device.
Differs: the search tries a grid where the paper solves linear programs; the cost is that of decoding.
Cost: a step of a block reads (1 - w) of the weights once and (1 - c) of the cache of all its batches.
Checked against: counting loads along the order; running a model in both orders: the same states, the bytes expected.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from reference_impls.models.cache import Cache
from reference_impls.models.decoder import Block, Decoder, rotation

Order = Literal["rows", "zigzag"]


@dataclass(frozen=True)
class Config:
    """weights_share, cache_share: what stays on the device; batch: sequences at a time; batches: of a block."""

    batch: int = 8
    batches: int = 4
    weights_share: float = 0.0
    cache_share: float = 0.0
    order: Order = "zigzag"
    overlap: bool = True

    def __post_init__(self) -> None:
        if min(self.batch, self.batches) < 1:
            raise ValueError(f"batch and batches must be at least 1, got {self.batch} and {self.batches}")
        if not (0 <= self.weights_share <= 1 and 0 <= self.cache_share <= 1):
            raise ValueError(f"shares must be 0 to 1, got {self.weights_share} and {self.cache_share}")


@dataclass(frozen=True)
class Work:
    """A model and a text: bytes of one layer's weights, and of one token of one sequence in one layer's cache."""

    layers: int
    layer_bytes: float
    token_bytes: float
    tokens: int
    layer_flops: float
    """Of one token of one sequence in one layer."""


@dataclass(frozen=True)
class Machine:
    """Rates in bytes and FLOPs a second, and the device's memory in bytes."""

    to_device: float
    to_host: float
    flops: float
    memory: float


def schedule(layers: int, batches: int, order: Order) -> Iterator[tuple[int, int]]:
    """(layer, batch) of one step of a block, in the order of computing."""
    if order == "rows":
        yield from ((layer, batch) for batch in range(batches) for layer in range(layers))
    else:
        yield from ((layer, batch) for layer in range(layers) for batch in range(batches))


def weight_loads(order: Sequence[tuple[int, int]]) -> int:
    """Loads of a layer's weights when one layer fits: every change of layer."""
    return sum(1 for place, (layer, _) in enumerate(order) if place == 0 or order[place - 1][0] != layer)


def bytes_in(work: Work, config: Config) -> float:
    """What a step of a block loads: weights as the order demands, and the cache that is away."""
    loads = work.layers * (config.batches if config.order == "rows" and work.layers > 1 else 1)
    cache = work.layers * config.batch * config.batches * work.tokens * work.token_bytes
    return loads * work.layer_bytes * (1 - config.weights_share) + cache * (1 - config.cache_share)


def bytes_out(work: Work, config: Config) -> float:
    """What it writes back: the cache of the new tokens."""
    return work.layers * config.batch * config.batches * work.token_bytes * (1 - config.cache_share)


def memory_needed(work: Work, config: Config) -> float:
    """On the device: what stays, and a buffer of two layers' weights and two batches' cache for what passes through."""
    cache = config.batch * work.tokens * work.token_bytes
    weights = work.layers * work.layer_bytes * config.weights_share + 2 * work.layer_bytes * (config.weights_share < 1)
    return weights + cache * (config.batches * work.layers * config.cache_share + 2 * (config.cache_share < 1))


def step_seconds(work: Work, config: Config, machine: Machine) -> float:
    """Eq. of section 4.3 for decoding: the slowest of load, write and compute, or their sum without overlap."""
    flops = work.layers * config.batch * config.batches * work.layer_flops
    parts = (
        bytes_in(work, config) / machine.to_device,
        bytes_out(work, config) / machine.to_host,
        flops / machine.flops,
    )
    return max(parts) if config.overlap else sum(parts)


def throughput(work: Work, config: Config, machine: Machine) -> float:
    """Tokens a second."""
    return config.batch * config.batches / step_seconds(work, config, machine)


def best_policy(work: Work, machine: Machine, sizes: Sequence[int] = (1, 2, 4, 8, 16, 32), steps: int = 10) -> Config:
    """The fastest setting that fits, from a grid of sizes and shares. ValueError where none fits."""
    shares = [step / steps for step in range(steps + 1)]
    grid = (Config(*setting) for setting in product(sizes, sizes, shares, shares))
    fitting = [config for config in grid if memory_needed(work, config) <= machine.memory]
    if not fitting:
        raise ValueError(f"nothing fits into {machine.memory:,.0f} bytes: two layers are needed at a time")
    return max(fitting, key=lambda config: throughput(work, config, machine))


@torch.no_grad()
def block_step(
    model: Decoder,
    batches: Sequence[Tensor],
    caches: Sequence[Cache],
    load: Callable[[int], Block],
    config: Config,
) -> list[Tensor]:
    """One pass of every batch of a block, in the order of the schedule; `load` is called when the layer changes.

    batches: (batch, q_seq) tokens each -> normalised states (batch, q_seq, hidden) each
    """
    shape = model.config
    states = [model.embedding(tokens) for tokens in batches]
    turns = [
        rotation(torch.arange(cache.length, cache.length + tokens.shape[1]), shape.head_dim, shape.rope_theta)
        for tokens, cache in zip(batches, caches, strict=True)
    ]
    loaded, block = -1, None
    for layer, batch in schedule(shape.layers, len(batches), config.order):
        if layer != loaded:
            loaded, block = layer, load(layer)
        assert block is not None, "the first layer is always loaded"
        states[batch] = block(states[batch], turns[batch], caches[batch], None)
    return [model.norm(state) for state in states]


def without_offload(config: Config) -> Config:
    """The same sizes with everything on the device."""
    return replace(config, weights_share=1.0, cache_share=1.0)
