"""A target that does not fit in memory: its layers come from a store, pass by pass, under a budget of bytes.

Paper: arXiv 2309.04255, sections 2.2 (weights are loaded anew for every token) and 3.4 (loading beside computing).
Idea: some layers stay, the others are read in turn; one thread reads ahead while another computes.
Symbols: nothing beyond the axes' names.
Simplified: whole layers are the unit; embedding, head and last norm always stay; the budget is for
    weights, not for key-value caches.
Differs: nothing; where the layers lie, and a stated rate, are the store's affair (`layer_store.py`).
Cost: the bytes of the layers that do not stay, read once in every pass.
Checked against: the same model in memory; a count of bytes; the budget, which ends a pass that would exceed it.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from reference_impls.models.cache import Cache, ContiguousCache
from reference_impls.models.decoder import Block, Decoder, rotation
from reference_impls.models.decoder import Config as Shape
from reference_impls.speculative_decoding.layer_store import DiskStore, Store, Weights, nbytes


@dataclass(frozen=True)
class Config:
    """budget_bytes: of all weights held at a time; ahead: read the next layer while this one computes;
    bytes_per_s: slow the reading of files down to this rate, None: as fast as the disk gives."""

    budget_bytes: int
    ahead: bool = True
    bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        if self.bytes_per_s is not None and self.bytes_per_s <= 0:
            raise ValueError(f"bytes_per_s must be above 0, got {self.bytes_per_s}")


@dataclass
class Log:
    """What the passes cost so far."""

    passes: int = 0
    bytes_read: int = 0
    wait_s: float = 0.0
    """Seconds in which the computing thread had nothing to do, or drafted."""
    peak_bytes: int = 0


class StreamedDecoder:
    """Computes what `Decoder` computes, with most of its layers elsewhere.

    source: a folder that `layer_store.write_layers` filled, or a store;
    idle: called again and again while a layer is awaited, until it returns False; it may draft meanwhile.
    """

    def __init__(self, source: Path | Store, shape: Shape, config: Config) -> None:
        self.config, self.shape, self.stream = shape, shape, config
        self.store: Store = DiskStore(source, shape.layers, config.bytes_per_s) if isinstance(source, Path) else source
        self.log = Log()
        self.idle: Callable[[], bool] | None = None
        rest = self.store.rest()
        self.embedding, self.norm_weight = rest["embedding.weight"], rest["norm.weight"]
        self.head = nn.Linear(shape.hidden, shape.vocab, bias=False, device="meta")
        self.head.weight = nn.Parameter(rest.get("head.weight", self.embedding), requires_grad=False)
        with torch.device("meta"):
            self.blocks = [Block(shape, layer) for layer in range(shape.layers)]
            self.norm = Decoder(shape).norm
        self.rest_bytes = nbytes(rest)
        staying = range(self._fitting())
        self.resident = {layer: self._copy(self.store.unpack(layer, self.store.fetch(layer))) for layer in staying}
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="layers")

    def _copy(self, weights: Weights) -> Weights:
        return {name: value.clone() for name, value in weights.items()}  # a store may use its buffers again

    def _fitting(self) -> int:
        """Layers that may stay, beside the one that computes and the one that is read."""
        largest = self.store.unpacked
        buffers = largest + (max(self.store.held) if self.stream.ahead else 0)
        room = self.stream.budget_bytes - self.rest_bytes - buffers
        if room < 0:
            least = self.rest_bytes + buffers
            raise ValueError(f"budget_bytes must be at least {least:,}, got {self.stream.budget_bytes:,}")
        return int(min(self.shape.layers, room // largest))

    def new_cache(self, batch: int = 1, capacity: int | None = None) -> ContiguousCache:
        """As `Decoder.new_cache`."""
        c, like = self.shape, self.norm_weight
        room = capacity or c.max_positions
        return ContiguousCache(c.layers, batch, c.kv_heads, room, c.head_dim, like.dtype, like.device)

    @torch.no_grad()
    def hidden_states(
        self, tokens: Tensor, cache: Cache | None = None, positions: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """As `Decoder.hidden_states`."""
        if positions is None:
            start = 0 if cache is None else cache.length
            positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        turn = rotation(positions, self.shape.head_dim, self.shape.rope_theta)
        x = self.embedding[tokens]
        coming: Future[Weights] | None = None
        self.log.passes += 1
        for layer, block in enumerate(self.blocks):
            weights = self.resident.get(layer)
            if weights is None:
                fetched = self._await(coming or self.reader.submit(self._fetch, layer))
                weights = self.store.unpack(layer, fetched)
                following = layer + 1
                ahead = self.stream.ahead and following < len(self.blocks)
                coming = self.reader.submit(self._fetch, following) if ahead else None
                self._count(weights, self.store.held[following] if ahead else 0)
            elif self.stream.ahead and coming is None and layer + 1 == len(self.resident) < len(self.blocks):
                coming = self.reader.submit(self._fetch, layer + 1)
            x = functional_call(block, weights, (x, turn, cache, mask))
            self.store.done(layer)
        out: Tensor = functional_call(self.norm, {"weight": self.norm_weight}, (x,))
        return out

    def _await(self, coming: "Future[Weights]") -> Weights:
        start = time.perf_counter()
        while self.idle is not None and not coming.done() and self.idle():
            pass
        weights = coming.result()
        self.log.wait_s += time.perf_counter() - start
        return weights

    def _fetch(self, layer: int) -> Weights:
        weights = self.store.fetch(layer)
        self.log.bytes_read += self.store.held[layer]
        return weights

    def _count(self, weights: Weights, another: int) -> None:
        """Note the weights held: those that stay, the layer at hand, and one that may be on its way.

        Raises MemoryError where they are more than the budget allows.
        """
        staying = sum(map(nbytes, self.resident.values()))
        held = self.rest_bytes + staying + nbytes(weights) + another
        self.log.peak_bytes = max(self.log.peak_bytes, held)
        if held > self.stream.budget_bytes:
            raise MemoryError(f"the budget is {self.stream.budget_bytes:,} bytes of weights, {held:,} are held")
